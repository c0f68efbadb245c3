// A place as it travels, in six bytes: whose it is (the tag of a sitting), flags, and x and y as shares of the stage.
//
//   0    1      2 3   4 5
//   tag  flags  x     y      big-endian; flags: 1 is pressed

const BYTES = 6;
const PRESSED = 1;
const ONE = 0xffff;

/** `{ tag, pressed, x, y }` as bytes; `x` and `y` are from 0 to 1. */
export function encode({ tag, pressed, x, y }) {
  const view = new DataView(new ArrayBuffer(BYTES));
  view.setUint8(0, tag);
  view.setUint8(1, pressed ? PRESSED : 0);
  view.setUint16(2, Math.round(clamp(x) * ONE));
  view.setUint16(4, Math.round(clamp(y) * ONE));
  return new Uint8Array(view.buffer);
}

/** The place in `data`; nothing where it is none: in dev mode anybody may publish. */
export function decode(data) {
  if (!(data instanceof Uint8Array) || data.length !== BYTES) return undefined;
  const view = new DataView(data.buffer, data.byteOffset, BYTES);
  return {
    tag: view.getUint8(0),
    pressed: (view.getUint8(1) & PRESSED) !== 0,
    x: view.getUint16(2) / ONE,
    y: view.getUint16(4) / ONE,
  };
}

/** How many bytes so many are in base64 (RFC 4648 section 4). */
export function base64Length(bytes) {
  return Math.ceil(bytes / 3) * 4;
}

function clamp(share) {
  return Math.min(1, Math.max(0, share));
}
