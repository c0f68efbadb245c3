// The core: channels over four transports, with one cursor. It is all that `/client.js` holds.

export { connect } from "./client.js";
export type { Channel, Client, Off, Past, Payload, Publishing } from "./client.js";
export { Refusal } from "./http.js";
export type {
  Attempt, Change, Gap, Hear, Line, Members, Message, Options, Page, Receipt, State, StateChange, Transport, TransportName, World,
} from "./types.js";
