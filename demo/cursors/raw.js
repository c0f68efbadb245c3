// A raw WebSocket, to compare with: it carries payloads as they were published and nothing else, no channel and no id, so
// that nobody can come back to where they were (docs/protocol.md, "raw").

const AGAIN_MS = 1_000;

/** The head of a frame that a server sends, for payloads below 126 bytes (RFC 6455 section 5.2). */
export const FRAME_BYTES = 2;

/** Hears `channels` over a raw WebSocket while it is switched on; `heard(bytes)` hears the length of each message. */
export class Raw {
  #address;
  #heard;
  #socket;
  #timer = 0;

  constructor(channels, heard) {
    this.#address = `${location.origin.replace(/^http/, "ws")}/c/${channels.join(",")}`;
    this.#heard = heard;
  }

  /** Switches it on or off. */
  listen(isOn) {
    clearTimeout(this.#timer);
    this.#socket?.close();
    this.#socket = undefined;
    if (!isOn) return;
    const socket = new WebSocket(this.#address);
    this.#socket = socket;
    socket.binaryType = "arraybuffer";
    socket.onmessage = ({ data }) => this.#heard(typeof data === "string" ? data.length : data.byteLength);
    socket.onclose = () => {
      if (this.#socket === socket) this.#timer = setTimeout(() => this.listen(true), AGAIN_MS);
    };
  }
}
