import assert from "node:assert/strict";
import { test } from "node:test";

import { kindOfLine, wordsOfVersion } from "../../beatra_nb/display/assets/prompt_history.js";
import { count, isTable, rowsToDraw, wordsOfPlan } from "../../beatra_nb/display/assets/prompt_table.js";

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
