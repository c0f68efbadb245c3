// The page as a whole: each panel is one module, and none knows the others.

import { joinChat } from "./chat.js";
import { watchHost } from "./host.js";
import { offerLines } from "./try.js";

watchHost(document.querySelector("#host"));
joinChat(document.querySelector("#chat"));
offerLines(document.querySelector("#try"));
