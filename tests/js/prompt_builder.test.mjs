import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import start from "../../beatra_nb/display/assets/prompt_builder.js";
import { kindOfLine, wordsOfVersion } from "../../beatra_nb/display/assets/prompt_history.js";
import { count, isTable, rowsToDraw, valueOf, wordsOfBrief, wordsOfPlan, wordsOfRun } from "../../beatra_nb/display/assets/prompt_table.js";
import { drawPanel, openPanelPage, PanelModel } from "./panel_page.mjs";

beforeEach(() => openPanelPage());

test("only rows that can be seen are drawn, and a few more", () => {
  const [first, last] = rowsToDraw(0, 380, 1000);
  assert.equal(first, 0);
  assert.ok(last >= 10 && last < 20);
  const [from, to] = rowsToDraw(38 * 500, 380, 1000);
  assert.ok(from < 500 && from >= 490 && to > 510 && to < 520);
  assert.deepEqual(rowsToDraw(38 * 998, 380, 1000)[1], 1000);
  assert.deepEqual(rowsToDraw(0, 380, 3), [0, 3]);
});

test("every row is drawn somewhere on the way through the table", () => {
  const seen = new Set();
  for (let top = 0; top <= 38 * 1000; top += 380) {
    const [first, last] = rowsToDraw(top, 380, 1000);
    for (let at = first; at < last; at++) seen.add(at);
  }
  assert.equal(seen.size, 1000);
});

test("what belongs into one cell is no table", () => {
  assert.deepEqual(["Oslo", "Oslo, Norway", "Oslo\n", ""].map(isTable), [false, false, false, false]);
  assert.deepEqual(["Oslo\tNorway", "Oslo\nRome", "a\r\nb"].map(isTable), [true, true, true]);
});

test("what running all rows takes, in words", () => {
  assert.equal(wordsOfPlan({ calls: 1, tokens: 12, price: "", unfit: 0 }), "1 call, about 12 tokens to send.");
  assert.equal(
    wordsOfPlan({ calls: 1200, tokens: 64000, price: "1–3 credits", unfit: 2 }),
    "1,200 calls, about 64,000 tokens to send, about 1–3 credits. 2 rows cannot be sent as they are.",
  );
  assert.equal(count(2, "row"), "2 rows");
});

test("a version in words", () => {
  const version = { n: 1, time: "12:00", answers: 1, failed: 0, score: "", scored: 0, credits: "", words: "", notes: "" };
  assert.equal(wordsOfVersion(version), "1 answer");
  assert.equal(
    wordsOfVersion({ ...version, answers: 3, failed: 1, score: "4.5", scored: 2, credits: "0.3" }),
    "3 answers · 1 failed · ★ 4.5 from 2 scored · 0.3 credits",
  );
});

test("lines of a diff", () => {
  assert.deepEqual(["@@ -1 +1 @@", "+a", "-a", " a"].map(kindOfLine), ["place", "add", "gone", "same"]);
});

test("a run in words: what failed was not answered", () => {
  const run = (done, of, failed, on = false) => wordsOfRun({ on, done, of, failed });
  assert.equal(run(0, 0, 0), "");
  assert.equal(run(2, 5, 0, true), "2 of 5 answered.");
  assert.equal(run(3, 5, 1, true), "2 of 5 answered, 1 failed.");
  assert.equal(run(5, 5, 1), "4 answered, 1 failed.");
  assert.equal(run(5, 5, 0), "5 of 5 answered.");
});

test("what has come of a row is marked where it is not what it seems", () => {
  assert.equal(wordsOfBrief(null, 1), "");
  assert.equal(wordsOfBrief({ state: "done", text: "Hi", version: 2 }, 2), "Hi");
  assert.equal(wordsOfBrief({ state: "done", text: "Hi", version: 1, score: 4, cut: true, old: true }, 2), "★4 · v1 · the row has changed since · cut off · Hi");
  assert.equal(wordsOfBrief({ state: "asking" }, 2), "asking");
});

const NAMES = ["constructor", "toString", "__proto__"];
const tree = (more = {}) => ({
  fields: { name: "", notes: "", system: "", user: "", model: "auto", temperature: "", max_tokens: "", schema: "" },
  invalid: {}, more: "", examples: [], models: ["auto"], variables: NAMES.map((name) => ({ name, there: false })), columns: NAMES,
  rows: [{ id: 1, v: {}, a: null }], selected: 1, preview: {}, answer: null, sandbox: false,
  run: { on: false, done: 0, of: 0, failed: 0, note: "" }, versions: [], version: 0, ...more,
});

test("a column may be called as what every object has", async () => {
  assert.equal(valueOf({ id: 1, v: {}, a: null }, "constructor"), null);
  const model = new PanelModel(tree());
  const { root } = drawPanel(start, model);
  const cells = [...root.querySelectorAll(".bnp-builder-cell textarea")];
  assert.deepEqual(cells.map((cell) => [cell.value, cell.placeholder]), NAMES.map(() => ["", "missing"]));
});

test("the bar says sandbox, and then the answer need not", () => {
  const answer = { row: 1, state: "done", text: "Hi", version: 1, sandbox: true, cut: "cut off at max tokens" };
  const badges = (more) => {
    const { root } = drawPanel(start, new PanelModel(tree({ answer, version: 1, ...more })));
    const seen = (node) => node.closest("[hidden]") === null;
    return [".bnp-bar .bnp-badge", ".bnp-builder-answer .bnp-badge"].map((at) => [...root.querySelectorAll(at)].filter(seen).map((node) => node.textContent));
  };
  assert.deepEqual(badges({ sandbox: true }), [["sandbox"], ["cut off at max tokens"]]);
  assert.deepEqual(badges({ sandbox: false }), [[], ["sandbox", "cut off at max tokens"]]);
});
