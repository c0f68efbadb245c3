// Payloads as they came: text as text, JSON laid out, bytes as bytes. Nothing of it is ever markup.

import { bytes } from "./format";

export interface Message {
  id?: string;
  channel: string;
  event?: string;
  data?: string;
  base64?: string;
  time: number;
}

/** Characters and bytes that are shown of one message. */
const TEXT_MAX = 16_384;
const BYTES_MAX = 512;

export function Payload({ message: { data, base64 } }: { message: Message }) {
  if (data !== undefined) {
    const text = laidOut(data);
    return <pre {...scrolls(text)}>{text.length > TEXT_MAX ? `${text.slice(0, TEXT_MAX)}…` : text || " "}</pre>;
  }
  const raw = Uint8Array.from(atob(base64 ?? ""), (char) => char.charCodeAt(0));
  return <pre class="bytes" role="group" aria-label={`${raw.length} bytes`} tabIndex={0}>{dump(raw.subarray(0, BYTES_MAX))}{raw.length > BYTES_MAX ? "\n…" : ""}</pre>;
}

/** What may be too tall for its place can be scrolled with keys. */
function scrolls(text: string): { role?: "group"; tabIndex?: number; "aria-label"?: string } {
  const isTall = text.length > 800 || text.split("\n").length > 12;
  return isTall ? { role: "group", tabIndex: 0, "aria-label": "Payload" } : {};
}

export function size({ data, base64 }: Message): string {
  if (data !== undefined) return bytes(new TextEncoder().encode(data).length);
  return `${bytes(Math.floor(((base64 ?? "").replace(/=+$/, "").length * 3) / 4))} binary`;
}

/** JSON objects and lists with indentation; everything else as it is. */
function laidOut(text: string): string {
  if (!/^\s*[[{]/.test(text) || text.length > TEXT_MAX) return text;
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

/** Sixteen bytes a line: where, in hexadecimal, and what of it is ASCII. */
function dump(raw: Uint8Array): string {
  const lines = [];
  for (let at = 0; at < raw.length; at += 16) {
    const line = [...raw.subarray(at, at + 16)];
    const hex = line.map((byte) => byte.toString(16).padStart(2, "0")).join(" ").padEnd(47);
    const text = line.map((byte) => (byte > 31 && byte < 127 ? String.fromCharCode(byte) : ".")).join("");
    lines.push(`${at.toString(16).padStart(4, "0")}  ${hex}  ${text}`);
  }
  return lines.join("\n");
}
