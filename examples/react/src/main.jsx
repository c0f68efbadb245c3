// The page begins with what the room has kept, and goes on from exactly there.

import { connect } from "@tidewire/client";
import { TidewireProvider } from "@tidewire/client/react";
import { createRoot } from "react-dom/client";

import { ROOM, SHOWN_MAX } from "./room.js";
import { Room } from "./Room.jsx";
import "./main.css";

const root = createRoot(document.querySelector("#root"));

try {
  const { messages, cursor } = await connect(TIDEWIRE_URL).channel(ROOM).history({ tail: SHOWN_MAX });
  // Nothing falls between the two: the connection begins after the last message of the history.
  const client = connect(TIDEWIRE_URL, { cursor });
  root.render(<TidewireProvider client={client}><Room kept={messages} /></TidewireProvider>);
} catch (problem) {
  root.render(<p role="alert">{TIDEWIRE_URL} does not answer: {problem.message}. Start it, and load this page again.</p>);
}
