// Who is logged in.

import { signal } from "@preact/signals";

import { Refused, get, post, said, sayCsrf } from "./api";

export interface Session {
  role: "admin" | "viewer";
  csrf: string;
  expires_in: number;
  node: string;
  version: string;
  dev: boolean;
  clients: { port: number; secure: boolean };
}

/** Nothing until the server has said, and null where nobody is logged in. */
export const session = signal<Session | null | undefined>(undefined);

/** Why the server could not say. */
export const trouble = signal("");

/** Whether who is logged in may act. */
export function mayAct(): boolean {
  return session.value?.role === "admin";
}

export async function look(): Promise<void> {
  try {
    const found = await get<Session | null>("/admin/session");
    if (found) begin(found);
    else session.value = null;
  } catch (error) {
    trouble.value = said(error);
  }
}

export async function login(password: string): Promise<void> {
  begin(await post<Session>("/admin/login", { password }));
}

export async function logout(): Promise<void> {
  await post("/admin/logout", {}).catch(() => undefined);
  session.value = null;
}

/** Says that a request was refused; if that is because nobody is logged in any more, the page says so as well. */
export function lost(error: unknown): void {
  if (error instanceof Refused && error.status === 401) session.value = null;
}

function begin(found: Session): void {
  sayCsrf(found.csrf);
  [session.value, trouble.value] = [found, ""];
}
