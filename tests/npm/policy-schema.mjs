// SPDX-License-Identifier: LGPL-2.1-or-later
//
// data/policy.schema.json as ajv reads it (JSON Schema 2020-12, strict): the verdicts on the corpus that test-policy-documents runs
// through the engine, and on the examples. Cases marked "meaning" are wrong in what they say, not in their structure: the schema takes
// them, the engine does not. Run from the top of the tree with the folder of node_modules as the argument. Prints TAP.

import { readFileSync, readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";

const load = createRequire(join(resolve(process.argv[2]), "package.json"));
const Ajv = load("ajv/dist/2020").default;
const read = (path) => JSON.parse(readFileSync(path, "utf8"));
const files = (folder) => readdirSync(folder).filter((name) => name.endsWith(".json")).sort().map((name) => `${folder}/${name}`);

function* cases() {
  for (const verdict of ["good", "bad"])
    for (const path of files(`tests/unit/policies/${verdict}`))
      for (const one of read(path))
        yield [`${path.slice("tests/unit/policies/".length, -".json".length)}: ${one.case}`, one.document, verdict === "good" || one.meaning === true];
  for (const path of files("examples/policies"))
    if (!path.endsWith(".cases.json")) yield [path, read(path), true];
}

let count = 0, failed = 0;
function report(good, name) {
  count += 1;
  failed += good ? 0 : 1;
  console.log(`${good ? "ok" : "not ok"} ${count} - policy-schema, ajv: ${name}`);
}

let validate = null;
try {
  validate = new Ajv({ strict: true, strictTypes: false, strictRequired: false }).compile(read("data/policy.schema.json"));
} catch (error) {
  console.log(`# ${error.message}`);
}
report(validate !== null, "it is a JSON Schema 2020-12, without a keyword that says nothing");
if (validate)
  for (const [name, document, expected] of cases()) report(validate(document) === expected, name);
console.log(`1..${count}`);
process.exit(failed === 0 && count > 200 ? 0 : 1);
