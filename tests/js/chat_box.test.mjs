import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import start from "../../beatra_nb/display/assets/chat_box.js";
import { announced } from "./page.mjs";
import { drawPanel, openPanelPage, PanelModel, settle } from "./panel_page.mjs";

const SHY = "<img src=x onerror=alert(1)>";
const turn = (id, more = {}) => ({ id, you: `Say ${id}`, text: `Answer **${id}**`, who: "smol", facts: ["9 tokens"], request_id: `req_${id}`, ...more });
const tree = (more = {}) => ({ title: "Talk", turns: [], live: null, branches: [], branch: 0, system: "", model: "auto", models: ["auto"], sandbox: true, ...more });
let model, root, close;

/** Sizes do not change where nothing is laid out. */
class NoSizes {
  observe() {}
  disconnect() {}
}

beforeEach(() => {
  openPanelPage();
  globalThis.ResizeObserver = NoSizes;
});

function open(more) {
  model = new PanelModel(tree(more));
  ({ root, close } = drawPanel(start, model));
  return root;
}
const all = (selector) => [...root.querySelectorAll(selector)];
const one = (selector) => root.querySelector(selector);
const named = (name, within = root) => [...within.querySelectorAll("button")].find((node) => node.textContent === name);
const message = () => one('textarea[aria-label="Message"]');
const seen = (node) => node.closest("[hidden]") === null;
const texts = (selector) => all(selector).map((node) => node.textContent);

function press(node, key, more = {}) {
  const event = new window.KeyboardEvent("keydown", { key, bubbles: true, cancelable: true, ...more });
  node.dispatchEvent(event);
  return event;
}
function say(text) {
  message().value = text;
  press(message(), "Enter");
}
const asking = (more = {}) => ({ id: 9, you: "Say 9", text: "", state: "asking", ...more });

test("an empty box says how it is used", () => {
  open();
  assert.match(one(".bnp-empty").textContent, /Enter sends/);
  assert.equal(one(".bnp-chat-title").textContent, "Talk");
  assert.equal(one('[role="log"]').getAttribute("aria-live"), "off");
});

test("turns are shown with what they took", () => {
  open({ turns: [turn(1), turn(2, { notes: ["Careful."] })] });
  assert.ok(!seen(one(".bnp-empty")));
  assert.deepEqual(texts(".bnp-chat-bubble > [dir]"), ["Say 1", "Say 2"]);
  assert.deepEqual(texts(".bnp-prose"), ["Answer 1", "Answer 2"]);
  assert.equal(all(".bnp-prose strong").length, 2);
  assert.deepEqual(texts(".bnp-chat-facts"), ["9 tokensreq_1", "9 tokensreq_2"]);
  assert.equal(one(".bnp-chat-note").textContent, "Careful.");
  assert.equal(one(".bnp-chat-resolved").textContent, "→ smol");
});

test("each sandbox answer says so where the box as a whole does not", () => {
  open({ sandbox: false, turns: [turn(1, { sandbox: true }), turn(2)] });
  assert.deepEqual(texts(".bnp-chat-facts .bnp-badge"), ["sandbox"]);
});

test("Enter sends, and the words are in sight before the kernel has heard them", async () => {
  open();
  say("Hello");
  const [asked] = model.asks;
  assert.deepEqual([asked.ask, asked.args], ["send", { text: "Hello" }]);
  assert.equal(message().value, "");
  assert.deepEqual(texts(".bnp-chat-bubble > [dir]"), ["Hello"]);
  model.patch(["set", ["live"], asking({ you: "Hello" })]);
  assert.deepEqual(texts(".bnp-chat-bubble > [dir]"), ["Hello"], "once, not twice");
  model.answer("send", null);
  await settle();
  assert.equal(all(".bnp-chat-turn").length, 1);
});

test("Shift+Enter, a character that is being composed, and nothing at all are not sent", () => {
  open();
  message().value = "Hello";
  assert.equal(press(message(), "Enter", { shiftKey: true }).defaultPrevented, false);
  press(message(), "Enter", { isComposing: true });
  press(message(), "Enter", { keyCode: 229 });
  message().value = " \n";
  press(message(), "Enter");
  assert.deepEqual(model.asks, []);
});

test("what the kernel refuses comes back into the composer, with the reason", async () => {
  open();
  say("Hello");
  model.answer("send", null, { message: "It is busy.", todo: "Wait." });
  await settle();
  assert.equal(message().value, "Hello");
  assert.equal(one(".bnp-chat-says").textContent, "It is busy. Wait.");
  assert.equal(all(".bnp-chat-turn").length, 0);
  say("Hello");
  assert.equal(one(".bnp-chat-says").textContent, "");
});

test("an answer grows in its node, and keeps it when it becomes a turn", () => {
  open({ turns: [turn(1)] });
  model.patch(["set", ["live"], asking()]);
  const node = all(".bnp-chat-turn")[1];
  const prose = node.querySelector(".bnp-prose");
  assert.ok(prose.classList.contains("bnp-writing"));
  model.patch(["grow", ["live", "text"], "One **t"]);
  model.patch(["grow", ["live", "text"], "wo**"]);
  assert.equal(prose.textContent, "One two");
  const strong = prose.querySelector("strong");
  model.patch(["push", ["turns"], turn(9, { text: "One **two**" })], ["set", ["live"], null]);
  assert.equal(all(".bnp-chat-turn")[1], node);
  assert.equal(node.querySelector("strong"), strong);
  assert.ok(!prose.classList.contains("bnp-writing"));
  assert.equal(all(".bnp-chat-turn").length, 2);
});

test("a turn and its live answer in one document are shown once", () => {
  open({ turns: [turn(1), turn(9)], live: asking() });
  assert.equal(all(".bnp-chat-turn").length, 2);
});

test("while an answer comes, Esc and Stop stop it, and nothing else is sent", () => {
  open({ live: asking() });
  assert.ok(seen(named("Stop")));
  assert.ok(!seen(named("Send")));
  say("And this?");
  assert.equal(message().value, "And this?");
  assert.match(one(".bnp-chat-says").textContent, /still coming/);
  press(message(), "Escape");
  named("Stop").click();
  assert.deepEqual(model.asks.map(({ ask }) => ask), ["stop", "stop"]);
  assert.ok(document.activeElement === message());
  model.patch(["set", ["live"], null]);
  assert.ok(!seen(named("Stop")));
  press(message(), "Escape");
  assert.equal(model.asks.length, 2);
});

test("what a cell asks cannot be stopped here", () => {
  open({ live: asking({ cell: true }) });
  assert.ok(!seen(named("Stop")));
  assert.ok(named("Send").disabled);
  assert.match(one(".bnp-chat-facts").textContent, /asked by a cell/);
});

test("what was stopped stays in sight, marked, and can be tried again", () => {
  open({ live: asking({ text: "Half an", state: "stopped" }) });
  assert.equal(one(".bnp-prose").textContent, "Half an");
  assert.match(one(".bnp-chat-more").textContent, /stopped.*not part of the conversation/);
  named("Try again").click();
  named("Dismiss").click();
  assert.deepEqual(model.asks.map(({ ask }) => ask), ["retry", "dismiss"]);
});

test("what has failed shows its card", () => {
  const trouble = { title: "The connection failed", message: SHY, again: "Yes.", request_id: "req_x" };
  open({ live: asking({ state: "failed", trouble }) });
  assert.equal(one(".bnp-trouble-head").textContent, "The connection failed");
  assert.match(one(".bnp-trouble").textContent, /<img src=x/);
  assert.equal(all("img").length, 0);
});

test("what is being replaced makes room, and comes back when that fails", () => {
  open({ turns: [turn(1), turn(2), turn(3)] });
  model.patch(["set", ["live"], asking({ at: 1, you: "Other" })]);
  assert.deepEqual(texts(".bnp-chat-bubble > [dir]"), ["Say 1", "Other"]);
  model.patch(["set", ["live"], asking({ at: 1, you: "Other", state: "failed", trouble: {} })]);
  assert.deepEqual(texts(".bnp-chat-bubble > [dir]"), ["Say 1", "Say 2", "Say 3", "Other"]);
});

test("the arrow up edits the last message in its place; Esc leaves it as it was", () => {
  open({ turns: [turn(1), turn(2)] });
  message().focus();
  press(message(), "ArrowUp");
  const area = one('textarea[aria-label="Edit the message"]');
  assert.equal(area.value, "Say 2");
  assert.ok(document.activeElement === area);
  press(area, "Escape");
  assert.equal(one(".bnp-chat-editor"), null);
  assert.ok(document.activeElement === message());
  press(message(), "ArrowUp");
  const again = one('textarea[aria-label="Edit the message"]');
  again.value = "Say two";
  press(again, "Enter", { isComposing: true });
  press(again, "Enter");
  assert.deepEqual(model.asks.map(({ ask, args }) => [ask, args]), [["edit", { turn: 2, text: "Say two" }]]);
  message().value = "a draft";
  press(message(), "ArrowUp");
  assert.equal(one(".bnp-chat-editor"), null, "a draft has lines of its own");
});

test("the arrow up takes back what was not answered", () => {
  open({ turns: [turn(1)], live: asking({ state: "stopped" }) });
  press(message(), "ArrowUp");
  assert.equal(message().value, "Say 9");
  assert.equal(model.asks[0].ask, "dismiss");
});

test("the last answer alone can be had anew; every one can be copied and forked", () => {
  open({ turns: [turn(1), turn(2)] });
  const [first, last] = all(".bnp-chat-turn");
  assert.deepEqual([seen(named("Regenerate", first)), seen(named("Regenerate", last))], [false, true]);
  named("Fork from here", first).click();
  named("Regenerate", last).click();
  assert.deepEqual(model.asks.map(({ ask, args }) => [ask, args]), [["fork", { turn: 1 }], ["regenerate", {}]]);
});

test("answer and conversation are copied as markdown", async () => {
  const copied = [];
  Object.defineProperty(globalThis, "navigator", { value: { clipboard: { writeText: async (text) => copied.push(text) } }, configurable: true });
  open({ turns: [turn(1)] });
  named("Copy").click();
  named("Copy all").click();
  await settle();
  assert.equal(copied[0], "Answer **1**");
  assert.equal(copied[1], "# Talk\n\n**You**\n\nSay 1\n\n**smol**\n\nAnswer **1**\n");
  close();
});

test("branches, model and system text are told", () => {
  open({ branches: ["Main · 2 turns", "Fork 1 · 1 turn"], branch: 1, models: ["auto", "big"] });
  const branches = one('[aria-label="Branch of the conversation"]');
  assert.ok(seen(branches));
  assert.equal(branches.value, "1");
  branches.value = "0";
  branches.dispatchEvent(new window.Event("change"));
  const models = one('[aria-label="Model"]');
  models.value = "big";
  models.dispatchEvent(new window.Event("change"));
  const system = one(".bnp-chat-system textarea");
  system.value = "Be brief.";
  system.dispatchEvent(new window.Event("input"));
  say("Hello"); // what was just typed counts already
  assert.deepEqual(model.asks.map(({ ask, args }) => [ask, args]), [
    ["switch", { branch: 0 }],
    ["model", { name: "big" }],
    ["system", { text: "Be brief." }],
    ["send", { text: "Hello" }],
  ]);
});

test("one branch needs no switch, and a model that is not listed is offered all the same", () => {
  open({ model: "mine" });
  assert.ok(!seen(one('[aria-label="Branch of the conversation"]')));
  assert.equal(one('[aria-label="Model"]').value, "mine");
  assert.equal(one(".bnp-chat-resolved").textContent, "");
});

test("of a long conversation the latest turns are drawn, and more when asked for", () => {
  open({ turns: Array.from({ length: 130 }, (_, i) => turn(i + 1)) });
  assert.equal(all(".bnp-chat-turn").length, 40);
  const earlier = one(".bnp-chat-earlier");
  assert.equal(earlier.textContent, "Show 40 earlier turns");
  earlier.click();
  assert.equal(all(".bnp-chat-turn").length, 80);
  assert.equal(earlier.textContent, "Show 40 earlier turns");
  earlier.click();
  assert.equal(all(".bnp-chat-turn").length, 120);
  assert.equal(earlier.textContent, "Show 10 earlier turns");
  earlier.click();
  assert.equal(all(".bnp-chat-turn").length, 130);
  assert.ok(!seen(earlier));
  assert.ok(document.activeElement === one(".bnp-chat-log"), "the focus is not lost with the button");
});

test("another branch begins at its own end", () => {
  open({ turns: Array.from({ length: 130 }, (_, i) => turn(i + 1)) });
  model.patch(["set", ["turns"], Array.from({ length: 3 }, (_, i) => turn(i + 1))], ["set", ["branch"], 1]);
  assert.equal(all(".bnp-chat-turn").length, 3);
  assert.ok(!seen(one(".bnp-chat-earlier")));
});

test("the focus goes to the composer when what had it is gone", () => {
  open({ turns: [turn(1)], live: asking({ state: "stopped" }) });
  named("Try again").focus();
  model.patch(["set", ["live"], null]);
  assert.ok(document.activeElement === message());
  document.activeElement.blur();
  model.patch(["push", ["turns"], turn(2)]);
  assert.notEqual(document.activeElement, message(), "it is not taken from elsewhere");
});

test("a screen reader hears the start and the end", () => {
  open({ turns: [turn(1)] });
  model.patch(["set", ["live"], asking()]);
  assert.equal(announced(), "An answer is being written.");
  model.patch(["grow", ["live", "text"], "x"]);
  assert.equal(announced(), "An answer is being written.");
  model.patch(["push", ["turns"], turn(9)], ["set", ["live"], null]);
  assert.equal(announced(), "The answer is complete.");
  model.patch(["set", ["live"], asking({ id: 10 })]);
  model.patch(["set", ["live"], asking({ id: 10, state: "stopped" })]);
  assert.equal(announced(), "The answer was stopped.");
});

test("no text becomes markup", () => {
  const notes = [SHY];
  const shy = turn(1, { you: SHY, text: SHY, who: SHY, facts: [SHY], notes, request_id: SHY });
  open({ title: SHY, system: SHY, model: SHY, models: [SHY], branches: [SHY, SHY], turns: [shy], live: asking({ you: SHY, text: SHY, trouble: { title: SHY, message: SHY, again: SHY, todo: SHY, code: SHY, request_id: SHY }, state: "failed" }) });
  assert.equal(all("img, script").length, 0);
  assert.ok(texts(".bnp-chat-bubble > [dir]").every((text) => text === SHY));
});

test("what failed before a word had come is short, and does not promise what cannot be", () => {
  const trouble = { title: "Bad request", message: "No.", again: "No, the same call would fail again.", retryable: false };
  open({ live: asking({ state: "failed", trouble }) });
  assert.ok(!seen(one(".bnp-chat-who")));
  assert.ok(!seen(one(".bnp-prose")));
  assert.ok(named("Send again"));
  assert.ok(!named("Try again"));
  open({ live: asking({ state: "failed", text: "Half", trouble: { ...trouble, retryable: true } }) });
  assert.ok(seen(one(".bnp-chat-who")));
  assert.equal(one(".bnp-prose").textContent, "Half");
  assert.ok(named("Try again"));
});

test("an answer is written a little at a time, and is whole as soon as it is", (context) => {
  globalThis.matchMedia = () => ({ matches: false }); // motion is welcome
  const frames = [];
  globalThis.requestAnimationFrame = (work) => frames.push(work);
  context.mock.method(performance, "now", () => 1000);
  open({ live: asking() });
  const text = "word ".repeat(400).trim();
  model.patch(["grow", ["live", "text"], text]);
  assert.equal(one(".bnp-prose").textContent, "");
  frames.shift()(1050);
  const written = one(".bnp-prose").textContent.length;
  assert.ok(written > 0 && written < text.length);
  assert.ok(one(".bnp-prose").classList.contains("bnp-writing"));
  model.patch(["set", ["turns"], [turn(9, { text })]], ["set", ["live"], null]);
  assert.equal(one(".bnp-prose").textContent, text);
  assert.ok(!one(".bnp-prose").classList.contains("bnp-writing"));
});
