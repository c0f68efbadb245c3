// The console: who is logged in, and what is looked at.

import { render } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";

import { Refused, said } from "./api";
import { Channels } from "./channels";
import { Connections } from "./connections";
import { listen, way } from "./figures";
import { Overview } from "./overview";
import { Mark, Problem } from "./parts";
import { Refusals } from "./refusals";
import { route } from "./route";
import { login, logout, look, session, trouble } from "./session";

const views: [view: string, name: string, shown: () => preact.JSX.Element][] = [
  ["overview", "Overview", () => <Overview />],
  ["channels", "Channels", () => <Channels />],
  ["connections", "Connections", () => <Connections />],
  ["refusals", "Refusals", () => <Refusals />],
];

function App() {
  useEffect(() => void look(), []);
  if (session.value) return <Console />;
  if (session.value === null) return <Login />;
  return trouble.value ? <main class="login"><Problem text={trouble.value} /><button type="button" onClick={() => void look()}>Try again</button></main> : null;
}

function Console() {
  useEffect(listen, []);
  const { view, name } = route.value;
  const shown = views.find(([at]) => at === view) ?? views[0]!;
  useEffect(() => {
    document.title = `${name || shown[1]} – Tidewire`;
  }, [name, shown[1]]);
  const { role, node, version } = session.value!;
  return (
    <>
      <a class="skip" href="#main" onClick={(event) => { event.preventDefault(); document.getElementById("main")?.focus(); }}>Skip to the content</a>
      <header class="top">
        <Mark />
        <h1>Tidewire <span>console</span></h1>
        <nav aria-label="Views">
          <ul>
            {views.map(([at, title]) => (
              <li key={at}><a href={`#/${at}`} {...(at === shown[0] ? { "aria-current": "page" as const } : {})}>{title}</a></li>
            ))}
          </ul>
        </nav>
        <span class="push" />
        <span class={way.value === "live" ? "state live" : "state"} role="status">{{ connecting: "Connecting", live: "Live", asked: "Asking each second" }[way.value]}</span>
        {role === "viewer" && <span class="badge">read only</span>}
        <button type="button" class="small" onClick={() => void logout()}>Log out</button>
      </header>
      <main id="main" tabIndex={-1}>{shown[2]()}</main>
      <footer class="soft">Tidewire {version} · <code>{node}</code> · <a href="/admin/assets/licences.txt">Licences</a></footer>
    </>
  );
}

function Login() {
  const [problem, complain] = useState("");
  const [busy, work] = useState(false);
  const field = useRef<HTMLInputElement>(null);
  useEffect(() => {
    document.title = "Log in – Tidewire";
    field.current?.focus();
  }, []);
  const submit = async (event: Event) => {
    event.preventDefault();
    work(true);
    try {
      await login(field.current!.value);
    } catch (error) {
      complain(error instanceof Refused && error.status === 401 ? "This is not a password of the console" : said(error));
      work(false);
      field.current?.select();
    }
  };
  return (
    <main class="login">
      <form class="panel" onSubmit={submit}>
        <h1><Mark /> Tidewire <span>console</span></h1>
        {/* Managers of passwords want to know for whom. */}
        <input class="unseen" type="text" name="username" autocomplete="username" value="console" tabIndex={-1} aria-hidden="true" readOnly />
        <label for="password">Password</label>
        <input id="password" name="password" type="password" autocomplete="current-password" required ref={field} />
        <button class="main" disabled={busy}>{busy ? "Looking…" : "Log in"}</button>
        <Problem text={problem} />
        <p class="soft">It is <code>admin.password</code> of the configuration. In dev mode the server says one when it starts.</p>
      </form>
    </main>
  );
}

render(<App />, document.getElementById("app")!);
