// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The other side of bench-rules-engine: the same policies as rules of json-rules-engine. A rule's place is its priority, and the first
// that holds stops the engine: that is how this engine is told that order counts. Facts are flat, which is its cheapest way to look them
// up, and the engine is made once. Its best round counts.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";

const { Engine } = createRequire(join(resolve(process.argv[2]), "package.json"))("json-rules-engine");
const { classes, contests } = JSON.parse(readFileSync(0, "utf8"));
const ROUND_NS = 150e6, ROUNDS = 3;

const isOneOf = (fact, value) => ({ fact, operator: Array.isArray(value) ? "in" : "equal", value });

function* conditions(when) {
  yield isOneOf("event", when.event ?? "willStop");
  for (const [name, value] of Object.entries(when)) {
    if (name === "event") continue;
    else if (name === "network") for (const [member, wanted] of Object.entries(value)) yield isOneOf(`network.${member}`, wanted);
    else if (name === "attempt") {
      if ("min" in value) yield { fact: name, operator: "greaterThanInclusive", value: value.min };
      if ("max" in value) yield { fact: name, operator: "lessThanInclusive", value: value.max };
    } else yield isOneOf(name, value);
  }
}

function make(policy) {
  const engine = new Engine();
  const decision = { rule: -1 };
  policy.rules.forEach((rule, index) =>
    engine.addRule({
      conditions: { all: [...conditions(rule.when)] },
      event: { type: "decision", params: { index } },
      priority: policy.rules.length - index,
    }));
  engine.on("success", (event) => {
    decision.rule = event.params.index;
    engine.stop();
  });
  return async (facts) => {
    decision.rule = -1;
    await engine.run(facts);
    return decision.rule;
  };
}

const factsOf = (context) => ({
  event: context.event,
  error: context.error ?? null,
  class: context.error ? classes[context.error] : null,
  attempt: context.attempt,
  tunnel: context.tunnel,
  "network.profile": context.network.profile,
  "network.ssid": context.network.ssid,
});

// Each round goes through all contexts, as often as its time allows, once at least.
async function measure(decide, facts) {
  let best = Infinity;
  for (let round = 0; round < ROUNDS; round++) {
    const start = process.hrtime.bigint();
    let count = 0, spent = 0;
    while (count === 0 || spent < ROUND_NS) {
      for (const one of facts) await decide(one);
      count += facts.length;
      spent = Number(process.hrtime.bigint() - start);
    }
    best = Math.min(best, spent / count);
    if (spent > 10 * ROUND_NS) break; // once through is a long time: what else the machine does is little in it
  }
  return best;
}

for (const { policy, contexts } of contests) {
  const decide = make(policy);
  const facts = contexts.map(factsOf);
  const decisions = [];
  for (const one of facts) decisions.push(await decide(one));
  console.log([(await measure(decide, facts)).toFixed(1), ...decisions].join(" "));
}
