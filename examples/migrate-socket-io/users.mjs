// Who may come in, for both: a token that names its holder.

import { jwtVerify, SignJWT } from "jose";

const secret = new TextEncoder().encode(process.env.SECRET);

export async function tokenOf(name) {
  const channels = { subscribe: ["chat:*"], presence: ["chat:*"] };
  const token = new SignJWT({ channels }).setProtectedHeader({ alg: "HS256" });
  return token.setSubject(name).setExpirationTime("10m").sign(secret);
}

export async function nameIn(token) {
  const { payload } = await jwtVerify(token, secret, { algorithms: ["HS256"] });
  return payload.sub;
}
