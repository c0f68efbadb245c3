// Lines to copy, with this page's own address filled in.

const COPIED_MS = 1_500;

export function offerLines(panel) {
  const { origin } = location;
  // The command line assumes this address; any other is named.
  const where = origin === "http://127.0.0.1:8080" ? "" : `TIDEWIRE_URL=${origin} `;
  const lines = {
    curl: `curl -d hello ${origin}/c/demo:hello`,
    console: `new EventSource("${origin}/c/demo:hello").onmessage = (e) => console.log(e.data)`,
    sub: `${where}tidewire sub demo:hello`,
  };
  const status = panel.querySelector("[role=status]");
  for (const item of panel.querySelectorAll("[data-line]")) {
    const code = item.querySelector("code");
    const button = item.querySelector("button");
    code.textContent = lines[item.dataset.line];
    button.addEventListener("click", async () => {
      const copied = await copy(code);
      button.textContent = copied ? "Copied" : "Selected";
      status.textContent = copied ? "Copied." : "Selected; copy it with the keyboard.";
      setTimeout(() => {
        button.textContent = "Copy";
        status.textContent = "";
      }, COPIED_MS);
    });
  }
}

// The clipboard is there on https and on loopback only; elsewhere the line is selected instead.
async function copy(code) {
  try {
    await navigator.clipboard.writeText(code.textContent);
    return true;
  } catch {
    getSelection().selectAllChildren(code);
    return false;
  }
}
