// The one global: `tidewire.connect()`, for pages without a bundler.

import { connect, Refusal } from "./core.js";

Object.assign(globalThis, { tidewire: { connect, Refusal } });
