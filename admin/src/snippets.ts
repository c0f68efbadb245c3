// A channel in somebody else's program: lines to copy.

export interface Clients {
  /** `https://app.example:8080` */
  base: string;
  /** Whether nobody is asked for credentials: dev mode. */
  open: boolean;
}

export function snippets({ base, open }: Clients, channel: string): [name: string, lines: string][] {
  const url = `${base}/c/${channel}`;
  const k = base.startsWith("https") && open ? " -k" : "";
  const bearer = open ? "" : ' -H "Authorization: Bearer $TIDEWIRE_TOKEN"';
  const ticket = open ? "" : "?ticket=${ticket}";
  const quoted = (text: string) => (open ? `"${text}"` : `\`${text}\``);
  const bought = open ? "" : "// A ticket opens one stream, once: your backend buys it with POST /v1/tickets.\n";
  return [
    ["curl", `# Listen\ncurl${k} -N -H 'Accept: text/event-stream'${bearer} ${url}\n\n# Send\ncurl${k}${bearer} -d 'hello' ${url}`],
    ["EventSource", `${bought}const source = new EventSource(${quoted(`${url}${ticket}`)});\nsource.onmessage = ({ data, lastEventId }) => console.log(lastEventId, data);\nsource.addEventListener("$gap", ({ data }) => console.warn("something may be missing", data));`],
    ["WebSocket", `${bought}const socket = new WebSocket(${quoted(`${url.replace(/^http/, "ws")}${ticket}`)});\nsocket.onmessage = ({ data }) => console.log(data);\nsocket.onclose = ({ code, reason }) => console.log("closed", code, reason);`],
    ["client.js", `<script src="${base}/client.js"></script>\n<script type="module">\n  const client = tidewire.connect("${base}"${open ? "" : ', { token: () => fetch("/my-token").then((answer) => answer.text()) }'});\n  client.channel("${channel}").on("message", ({ data }) => console.log(data));\n  client.on("gap", ({ reason }) => console.warn("something may be missing", reason));\n</script>`],
  ];
}
