// A room: who is there, what was said, and a line to say something.

import { useChannel, useClient, useConnection, useGap, usePresence } from "@tidewire/client/react";
import { useEffect, useRef, useState } from "react";

import { ROOM, SHOWN_MAX, merged, read } from "./room.js";

/** Begins with the messages `kept`. */
export function Room({ kept }) {
  return (
    <main>
      <header>
        <h1>Lobby</h1>
        <Connection />
        <Members />
      </header>
      <Log kept={kept} />
      <Say />
    </main>
  );
}

const WORDS = { connecting: "Connecting", live: "Live", waiting: "Reconnecting", refused: "Refused" };

function Connection() {
  const { state, transport } = useConnection();
  return <p role="status" className="state" data-state={state}>{WORDS[state] ?? state}{state === "live" && ` over ${transport}`}</p>;
}

function Members() {
  const members = usePresence(ROOM);
  return <p className="members">{members ? `${members.count} here` : "…"}</p>;
}

function Log({ kept }) {
  const [log, setLog] = useState(kept);
  const [isPartial, setPartial] = useState(false);
  const channel = useChannel(ROOM, (message) => setLog((log) => merged(log, [message])));
  // Messages may be missing: what the server keeps is the truth, and what came meanwhile is in it or follows.
  useGap(ROOM, async () => {
    const { messages } = await channel.history({ tail: SHOWN_MAX });
    setLog(messages);
    setPartial(true);
  });

  const end = useRef(null);
  useEffect(() => {
    // Browsers may return a promise here, which React would take for a clean-up.
    end.current.scrollIntoView({ block: "nearest" });
  }, [log]);

  return (
    <div className="log" role="log" aria-label="What was said" tabIndex={0}>
      {isPartial && <p className="notice">Some messages are no longer kept, and were missed.</p>}
      {log.length === 0 && <p className="notice">Nobody has said anything yet.</p>}
      <ol>{log.map((message) => <Line key={message.id} message={message} />)}</ol>
      <div ref={end} />
    </div>
  );
}

function Line({ message }) {
  const { name, text } = read(message);
  const time = new Date(message.time);
  return (
    <li>
      <b dir="auto">{name}</b>
      <time dateTime={time.toISOString()}>{time.toLocaleTimeString([], { timeStyle: "short" })}</time>
      <p dir="auto">{text}</p>
    </li>
  );
}

function Say() {
  const client = useClient();
  const [name, setName] = useState(() => `guest-${Math.floor(Math.random() * 900 + 100)}`);
  const [text, setText] = useState("");
  const [problem, setProblem] = useState("");

  async function say(event) {
    event.preventDefault();
    setText("");
    try {
      // It comes back like everybody else's, and is shown then. One that got no answer is repeated under the same key.
      await client.channel(ROOM).publish({ name, text });
      setProblem("");
    } catch ({ message }) {
      setText(text);
      setProblem(message);
    }
  }

  return (
    <form onSubmit={say}>
      <input aria-label="Your name" value={name} onChange={({ target }) => setName(target.value)} maxLength={32} required />
      <input aria-label="Message" value={text} onChange={({ target }) => setText(target.value)} maxLength={500} placeholder="Say something" required />
      <button>Send</button>
      {problem && <p role="alert">{problem}</p>}
    </form>
  );
}
