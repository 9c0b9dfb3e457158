// SPDX-License-Identifier: LGPL-2.1-or-later
// A browser's EventSource as npm has it: prints every event it gets, a line of JSON each. event-source.mjs NPM URL TOKEN
import { createRequire } from "node:module";
import { resolve } from "node:path";

const [npm, url, token] = process.argv.slice(2);
const { EventSource } = createRequire(resolve(npm, "package.json"))("eventsource");
const source = new EventSource(url, {
	fetch: (input, init) => fetch(input, { ...init, headers: { ...init.headers, Authorization: `Bearer ${token}` } }),
});
const kinds = ["daemonStarted", "modeChanged", "gateChanged", "documentChanged", "networkChanged", "tunnelCreated", "resync"];
for (const kind of kinds)
	source.addEventListener(kind, (event) => console.log(JSON.stringify({ id: event.lastEventId, kind, data: JSON.parse(event.data) })));
source.addEventListener("open", () => console.log(JSON.stringify({ kind: "open" })));
