import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import start from "../../beatra_nb/display/assets/compare.js";
import { Pen } from "../../beatra_nb/display/assets/pen.js";
import { drawPanel, openPanelPage, PanelModel, settle } from "./panel_page.mjs";

const SHY = "<img src=x onerror=alert(1)>";
let body;
beforeEach(() => {
  body = openPanelPage();
});

const lane = (key, more = {}) => ({
  key, letter: "", label: key, name: "", model: "auto", temperature: null, extra: "", state: "", text: "", votes: 0,
  note: "", facts: [], answered: "", request_id: "", error: null, asked: null, ...more,
});
const tree = (more = {}) => ({
  prompt: "Say hi.", system: "", sandbox: true, models: ["auto", "tiny"], blind: false, hidden: false, running: false,
  round: 0, asked: null, score: [], lanes: [lane("one"), lane("two")], most: 8, ...more,
});
const named = (root, text) => [...root.querySelectorAll("button")].find((node) => node.textContent === text && !node.hidden);
const write = (node, text) => {
  node.value = text;
  node.dispatchEvent(new window.Event("input", { bubbles: true }));
};
const keys = (node, key, more = {}) => node.dispatchEvent(new window.KeyboardEvent("keydown", { key, bubbles: true, cancelable: true, ...more }));

test("a prompt is sent by button and by Ctrl+Enter, and not twice while it runs", () => {
  const model = new PanelModel(tree());
  const { root } = drawPanel(start, model);
  const prompt = root.querySelector("textarea");
  write(prompt, "What now?");
  named(root, "Run").click();
  keys(prompt, "Enter", { ctrlKey: true });
  assert.deepEqual(model.asks.map(({ ask, args }) => [ask, args.prompt]), [["run", "What now?"], ["run", "What now?"]]);
  model.patch(["set", ["running"], true]);
  named(root, "Run").click();
  keys(prompt, "Enter", { metaKey: true });
  assert.equal(model.asks.length, 2);
  keys(prompt, "Escape");
  assert.equal(model.asks.at(-1).ask, "stop");
});

test("what is asked is what is shown: this page's own words, or the kernel's", async () => {
  const model = new PanelModel(tree());
  const { root } = drawPanel(start, model);
  const prompt = root.querySelector("textarea");
  prompt.focus();
  model.patch(["set", ["prompt"], "Theirs."]);
  assert.equal(prompt.value, "Theirs.", "nothing was being written, though the caret stands there");
  named(root, "Run").click();
  assert.deepEqual(model.asks.at(-1).args, {}, "the kernel's own");
  write(prompt, "Mine.");
  model.patch(["set", ["prompt"], "Theirs again."], ["set", ["system"], "Be kind."]);
  prompt.blur();
  assert.equal(prompt.value, "Mine.");
  named(root, "Run").click();
  assert.deepEqual(model.asks.at(-1).args, { prompt: "Mine." }, "and not the system text, which others wrote");
  model.patch(["set", ["prompt"], "Mine."]);
  model.answer("run", null);
  await settle();
  model.patch(["set", ["prompt"], "Theirs at last."]);
  assert.equal(prompt.value, "Theirs at last.");
});

test("what is refused stays where it was written", async () => {
  const model = new PanelModel(tree());
  const { root } = drawPanel(start, model);
  const prompt = root.querySelector("textarea");
  write(prompt, "");
  named(root, "Run").click();
  model.answer("run", null, { title: "The input is not valid", message: "The prompt is empty." });
  await settle();
  assert.equal(prompt.value, "");
  assert.match(root.querySelector(".bnp-trouble").textContent, /empty/);
});

test("answers stand with what they were asked", () => {
  const asked = { label: "cold", model: "auto", temperature: 0, extra: "" };
  const model = new PanelModel(tree({
    round: 1, asked: { prompt: `Say hi. ${SHY}`, system: "Be kind." },
    lanes: [lane("hot", { state: "done", text: "Hi.", temperature: 2, asked }), lane("two", { state: "done" })],
  }));
  const { root } = drawPanel(start, model);
  const since = root.querySelector(".bnp-compare-since");
  assert.equal(since.textContent, `Changed since: the answers below were asked “Say hi. ${SHY}” under the system text “Be kind.”`);
  const was = root.querySelectorAll(".bnp-compare-was");
  assert.equal(was[0].textContent, "Answered as “cold” with auto, temperature 0");
  assert.equal(was[1].hidden, true);
  model.patch(["set", ["prompt"], `Say hi. ${SHY}`], ["set", ["system"], "Be kind."], ["set", ["lanes", 0, "asked"], null]);
  assert.equal(since.hidden && was[0].hidden, true);
});

test("the system text is unfolded once, and stays folded when a hand folds it", () => {
  const model = new PanelModel(tree());
  const { root } = drawPanel(start, model);
  const fold = root.querySelector("details");
  assert.equal(fold.open, false);
  model.patch(["set", ["system"], "Be kind."]);
  assert.equal(fold.open, true);
  fold.open = false;
  model.patch(["push", ["lanes"], lane("three")]);
  assert.equal(fold.open, false);
});

test("a setting stays while the kernel has not answered", async () => {
  const model = new PanelModel(tree());
  const { root } = drawPanel(start, model);
  const heat = root.querySelector("input[type=number]");
  heat.value = "0.5";
  heat.dispatchEvent(new window.Event("change", { bubbles: true }));
  model.patch(["set", ["sandbox"], false]);
  assert.equal(heat.value, "0.5");
  model.patch(["set", ["lanes", 0, "temperature"], 0.5]);
  model.answer("lane", null);
  await settle();
  assert.equal(heat.value, "0.5");
});

test("the end is kept in view while it is written, and a whole answer is read from its beginning", () => {
  const model = new PanelModel(tree());
  const { root } = drawPanel(start, model);
  const box = root.querySelector(".bnp-compare-box");
  Object.defineProperties(box, { scrollHeight: { value: 900 }, clientHeight: { value: 300 } });
  const write = (text) => model.patch(["set", ["running"], true], ["set", ["lanes", 0, "state"], "writing"], ["grow", ["lanes", 0, "text"], text]);
  const end = () => model.patch(["set", ["lanes", 0, "state"], "done"], ["set", ["running"], false]);
  model.patch(["set", ["lanes", 0, "state"], "waiting"]);
  write("one two");
  assert.ok(box.scrollTop >= 600);
  end();
  assert.equal(box.scrollTop, 0);
  assert.equal(box.className, "bnp-compare-box bnp-compare-below");
  model.patch(["set", ["lanes", 0, "state"], "waiting"], ["set", ["lanes", 0, "text"], ""]);
  box.dispatchEvent(new window.Event("wheel"));
  box.scrollTop = 100;
  box.dispatchEvent(new window.Event("scroll"));
  write("three");
  end();
  assert.equal(box.scrollTop, 100, "a reader is left where he reads");
});

test("only the lane that grows is drawn, as text", () => {
  const model = new PanelModel(tree({ running: true, lanes: [lane("one", { state: "writing" }), lane("two", { state: "writing", text: "b" })] }));
  const { root } = drawPanel(start, model);
  const [first, second] = root.querySelectorAll(".bnp-prose");
  model.patch(["grow", ["lanes", 0, "text"], `**bold** ${SHY}`]);
  assert.equal(first.textContent, `bold ${SHY}`);
  assert.equal(first.querySelector("strong").textContent, "bold");
  assert.equal(second.textContent, "b");
  assert.ok(!root.querySelector("img"));
});

test("a lane's settings are told, and what was refused is said and taken back", async () => {
  const model = new PanelModel(tree());
  const { root } = drawPanel(start, model);
  const heat = root.querySelector("input[type=number]");
  heat.value = "7";
  heat.dispatchEvent(new window.Event("change", { bubbles: true }));
  assert.deepEqual(model.asks[0].args, { lane: "one", label: "", model: "auto", temperature: 7 });
  model.answer("lane", null, { title: "The input is not valid", message: `too hot ${SHY}` });
  await settle();
  assert.match(root.querySelector(".bnp-trouble").textContent, /too hot <img/);
  assert.equal(heat.value, "");
  named(root, "Add lane").click();
  model.answer("add", null);
  await settle();
  assert.ok(!root.querySelector(".bnp-trouble"));
});

test("nothing of a lane's name is left in the page when it is hidden", () => {
  const model = new PanelModel(tree({ lanes: [lane("one", { model: "secret-model", name: "secret", label: "secret", temperature: 0.7 })] }));
  const { root } = drawPanel(start, model);
  assert.equal(root.querySelector("select").value, "secret-model");
  const hidden = lane("k1", { letter: "A", label: "", model: "", name: "", state: "done", text: "Hi." });
  model.patch(["set", ["blind"], true], ["set", ["hidden"], true], ["set", ["models"], []], ["set", ["lanes"], [hidden, { ...hidden, key: "k2", letter: "B" }]]);
  const values = [...root.querySelectorAll("*")].map((node) => `${node.value ?? ""} ${JSON.stringify({ ...node.dataset })}`).join();
  assert.doesNotMatch(root.outerHTML + values, /secret|0\.7|tiny/);
});

test("a key votes where nobody writes, and nowhere else", () => {
  const done = { letter: "A", label: "", state: "done", text: "Hi." };
  const model = new PanelModel(tree({ blind: true, hidden: true, round: 1, models: [], lanes: [lane("k1", done), lane("k2", { ...done, letter: "B" })] }));
  const { root } = drawPanel(start, model);
  const box = root.querySelector(".bnp-compare-box");
  keys(box, "2");
  keys(box, "3");
  keys(box, "2", { ctrlKey: true });
  keys(root.querySelector("textarea"), "1");
  named(root, "Vote A").click();
  assert.deepEqual(model.asks.map(({ ask, args }) => [ask, args.lane]), [["vote", "k2"], ["vote", "k1"]]);
  model.patch(["set", ["hidden"], false]);
  keys(box, "1");
  assert.equal(model.asks.length, 2);
  assert.ok(!named(root, "Vote A"));
});

test("a focus that would be lost stays in the lane", () => {
  const model = new PanelModel(tree({ running: true, lanes: [lane("one", { state: "writing", text: "a" }), lane("two")] }));
  const { root } = drawPanel(start, model);
  const stop = root.querySelector(".bnp-compare-actions button");
  stop.focus();
  model.patch(["set", ["lanes", 0, "state"], "done"], ["set", ["running"], false]);
  assert.ok(document.activeElement === root.querySelector(".bnp-compare-box"));
});

test("a failed lane shows its card and is asked again alone, in words that fit", () => {
  const model = new PanelModel(tree({ round: 1, lanes: [lane("one", { state: "failed", error: { title: "No", message: SHY, request_id: "req_1" } }), lane("two", { state: "done" })] }));
  const { root } = drawPanel(start, model);
  assert.match(root.querySelector(".bnp-trouble").textContent, /No<img.*req_1/);
  named(root, "Try again").click();
  assert.deepEqual([model.asks[0].ask, model.asks[0].args], ["retry", { lane: "one" }]);
  model.patch(["set", ["lanes", 0, "error"], { message: "No.", retryable: false, todo: "Do this." }]);
  assert.match(root.querySelector(".bnp-trouble").textContent, /Do this/);
  const again = named(root, "Send again");
  assert.equal(again.getAttribute("aria-label"), "Send again: one");
  again.focus();
  model.patch(["set", ["lanes", 0, "error"], null], ["set", ["lanes", 0, "state"], "waiting"]);
  assert.ok(document.activeElement === root.querySelector(".bnp-compare-box"), "the card went, the focus stays in the lane");
});

test("a screen reader hears the start and the end", async () => {
  const model = new PanelModel(tree());
  drawPanel(start, model);
  const said = () => document.getElementById("bnl-announcer")?.textContent ?? "";
  assert.equal(said(), "");
  model.patch(["set", ["running"], true]);
  await settle();
  assert.equal(said(), "The answers are being written.");
  model.patch(["set", ["lanes", 0, "state"], "failed"], ["set", ["running"], false]);
  await settle();
  assert.equal(said(), "The answers have ended; 1 of them failed.");
});

test("what was written and not told yet is told when the view closes", () => {
  const model = new PanelModel(tree());
  const { root, close } = drawPanel(start, model);
  const prompt = root.querySelector("textarea");
  prompt.value = "new";
  prompt.dispatchEvent(new window.Event("input", { bubbles: true }));
  close();
  assert.deepEqual([model.asks[0].ask, model.asks[0].args.prompt], ["edit", "new"]);
  assert.ok(!body.querySelector(".bnp"));
});

test("a pen lets text out step by step, whole at the end, and begins anew on other text", (context) => {
  let clock = 1000;
  let frame;
  context.mock.method(performance, "now", () => clock);
  globalThis.matchMedia = () => ({ matches: false });
  globalThis.requestAnimationFrame = (work) => {
    frame = work;
    return 1;
  };
  const paper = document.createElement("div");
  const pen = new Pen(paper);
  const text = "one two three ".repeat(100);
  const seen = [];
  pen.drawn = () => seen.push(pen.seen);
  pen.write(text, true);
  for (clock += 10; pen.frame; clock += 10) frame(clock);
  assert.ok(seen.length > 5, "not all at once");
  assert.deepEqual(seen, seen.toSorted((a, b) => a - b));
  assert.equal(seen.at(-1), text.length);
  assert.ok(seen.every((at) => at === text.length || text[at] === " "), "whole words");
  pen.write(`${text}end`, false);
  assert.equal(paper.textContent.trim(), `${text}end`.trim());
  pen.write("other", false);
  assert.equal(paper.textContent, "other");
  assert.equal(paper.classList.contains("bnp-writing"), false);
});
