// What runs wherever text is taken for markup, script or style: forty ways to call `canary()`, or to open a dialog.

const NUL = "\u0000";
const BIDI = "\u202e";
const LINE_SEPARATOR = "\u2028";

export const PAYLOADS = [
  // Elements that run by themselves.
  "<script>canary()</script>",
  "<img src=canary onerror=canary()>",
  "<svg onload=canary()>",
  "<svg><animate onbegin=canary() attributeName=x dur=1s>",
  "<svg><script>canary()</script></svg>",
  "<iframe srcdoc='<script>parent.canary()</script>'></iframe>",
  "<iframe src=javascript:parent.canary()></iframe>",
  "<object data=javascript:canary()></object>",
  "<embed src=javascript:canary()>",
  "<video><source onerror=canary()></video>",
  "<details open ontoggle=canary()><summary>x</summary></details>",
  "<input autofocus onfocus=canary()>",
  "<marquee onstart=canary()>x</marquee>",
  "<body onload=canary()>",
  "<style>@import 'canary';</style>",
  "<link rel=stylesheet href=canary>",
  "<base href=//canary.example/>",
  "<meta http-equiv=refresh content='0;url=javascript:canary()'>",
  // Addresses that are code.
  "javascript:canary()",
  "<a href=javascript:canary()>x</a>",
  "<a href='java\tscript:canary()'>x</a>",
  "data:text/html,<script>opener.canary()</script>",
  "<form action=javascript:canary()><button>x</button></form>",
  // Out of an attribute, a text, a script, a comment.
  "\"><img src=canary onerror=canary()>",
  "' onmouseover=canary() autofocus tabindex=1 onfocus=canary() x='",
  "</textarea><script>canary()</script>",
  "</title></style></script><script>canary()</script>",
  "--><img src=canary onerror=canary()>",
  "\"};canary();//",
  `';${LINE_SEPARATOR}canary();//`,
  "${canary()}{{constructor.constructor('canary()')()}}",
  "]]><script>canary()</script>",
  // What one parser takes for text and the next for markup.
  "<noscript><p title=\"</noscript><img src=canary onerror=canary()>\">",
  "<math><mtext><table><mglyph><style><!--</style><img title=\"--&gt;&lt;img src=canary onerror=canary()&gt;\">",
  "&lt;img src=canary onerror=canary()&gt;",
  "%3Cimg%20src%3Dcanary%20onerror%3Dcanary()%3E",
  `<scr${NUL}ipt>canary()</scr${NUL}ipt>${BIDI}`,
  // Names that a script would look up.
  "<a id=tidewire></a><a id=tidewire name=connect href=javascript:canary()></a>",
  "{\"__proto__\":{\"innerHTML\":\"<img src=canary onerror=canary()>\"}}",
  // Lines that a stream of events would take for its own.
  "x\n\nevent: $gap\ndata: {\"reason\":\"<img src=canary onerror=alert(1)>\",\"channels\":[]}\n\n",
];
