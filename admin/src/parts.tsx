// Small things that several views are made of.

import { useEffect, useRef, useState } from "preact/hooks";
import type { ComponentChildren } from "preact";

import { lost } from "./session";
import { said } from "./api";

/** Asks now, whenever `key` changes, and every `every` ms while the page is seen. What was answered stays meanwhile. */
export function useAsked<T>(ask: (byItself: boolean) => Promise<T>, key: string, every: number): { value?: T; problem: string; again: () => void } {
  const [state, set] = useState<{ value?: T; problem: string }>({ problem: "" });
  const latest = useRef(ask);
  latest.current = ask;
  const run = useRef<(byItself: boolean) => void>(() => undefined);
  useEffect(() => {
    let current = true;
    let busy = false;
    run.current = async (byItself) => {
      if (busy && byItself) return;
      busy = true;
      try {
        const value = await latest.current(byItself);
        if (current) set({ value, problem: "" });
      } catch (error) {
        lost(error);
        if (current) set((before) => ({ ...before, problem: said(error) }));
      }
      busy = false;
    };
    run.current(false);
    const beat = setInterval(() => document.visibilityState === "visible" && run.current(true), every);
    return () => {
      current = false;
      clearInterval(beat);
    };
  }, [key, every]);
  return { ...state, again: () => run.current(false) };
}

/** A value that follows another one once it rests. */
export function useRested<T>(value: T, ms = 200): T {
  const [rested, set] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => set(value), ms);
    return () => clearTimeout(timer);
  }, [value, ms]);
  return rested;
}

/** A button that asks once more before it does something that cannot be taken back. */
export function Sure({ children, sure, label, act }: { children: ComponentChildren; sure: string; label: string; act: () => void }) {
  const [asked, ask] = useState(false);
  useEffect(() => {
    if (!asked) return;
    const timer = setTimeout(() => ask(false), 4_000);
    return () => clearTimeout(timer);
  }, [asked]);
  const press = () => {
    if (asked) act();
    ask(!asked);
  };
  return (
    <button type="button" class={asked ? "small danger" : "small"} aria-label={asked ? `${sure} ${label}` : `${String(children)} ${label}`} onClick={press} onBlur={() => ask(false)}>
      {asked ? sure : children}
    </button>
  );
}

export function Copy({ text, label = "Copy" }: { text: string; label?: string }) {
  const [done, set] = useState("");
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      set("Copied");
    } catch {
      set("Select it and copy by hand");
    }
    setTimeout(() => set(""), 2_000);
  };
  return (
    <span class="copy">
      <button type="button" class="small" onClick={copy}>{label}</button>
      <span class="soft" role="status">{done}</span>
    </span>
  );
}

export function Problem({ text }: { text: string }) {
  return text ? <p class="problem" role="alert"><Words text={sentence(text)} /></p> : null;
}

/** What the server says: what stands between backticks is code. */
export function Words({ text }: { text: string }) {
  return <>{text.split("`").map((part, at) => (at % 2 ? <code key={at}>{part}</code> : part))}</>;
}

export function sentence(text: string): string {
  return text ? `${text[0]!.toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? "" : "."}` : "";
}

/** A table that scrolls by itself where the page is too narrow for it. */
export function Table({ label, head, children, numbers = [] }: { label: string; head: string[]; children: ComponentChildren; numbers?: number[] }) {
  return (
    <div class="scroll" role="region" aria-label={label} tabIndex={0}>
      <table>
        <thead>
          <tr>{head.map((name, at) => <th scope="col" key={name} class={numbers.includes(at) ? "number" : ""}>{name || <span class="unseen">Actions</span>}</th>)}</tr>
        </thead>
        <tbody>{children}</tbody>
      </table>
    </div>
  );
}

export function Mark() {
  return (
    <svg class="mark" viewBox="0 0 24 24" aria-hidden="true">
      <path d="M2 8.5c3.3-4 6.7-4 10 0s6.7 4 10 0" />
      <path d="M2 16c3.3-4 6.7-4 10 0s6.7 4 10 0" />
    </svg>
  );
}
