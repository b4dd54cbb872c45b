import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";

import start from "../../beatra_nb/display/assets/music_studio.js";
import { hasWords, sectionAt, sideOf, timeTold, toggleWords } from "../../beatra_nb/display/assets/studio_words.js";
import { drawPanel, openPanelPage, PanelModel, settle } from "./panel_page.mjs";

const SHY = "<img src=x onerror=alert(1)>";
const WAVE = "data:image/svg+xml;base64,PHN2Zy8+";
const FORM = { prompt: "ska", lyrics: "", title: "", instrumental: null, model: "auto", options: {} };
const TREE = {
  form: FORM, fields: [], models: ["auto", "suno-5.5"], chips: [["Style", ["pop", "dream pop", "ska"]]], sections: ["Verse"],
  price: "80 credits", told: "80 credits, two takes", balance: "", problems: {}, rest: "", reference: null, sandbox: false,
  sending: false, cards: {}, marks: { a: "", b: "" }, diff: null,
};
const TAKE = { id: "1.1", title: "Rain", time: "0:02", facts: ["ska"], wave: WAVE, kind: "audio/mpeg", size: "9 kB", name: "Rain-1.mp3", here: true, problem: "" };
const CARD = {
  title: "Rain", phase: "running", stage: "composing", message: "", note: "", percent: 40, elapsed: 3, expected: null, canceling: false,
  facts: ["80 credits"], ids: [["task", "task_1"]], sandbox: true, words: "", prompt: "ska", warnings: [], trouble: null, takes: [],
};

/** Bytes that the page holds, by their addresses. */
const held = new Map();

beforeEach(() => {
  openPanelPage();
  held.clear();
  globalThis.URL.createObjectURL = (blob) => {
    const url = `blob:${Math.random()}`;
    held.set(url, blob.size);
    return url;
  };
  globalThis.URL.revokeObjectURL = (url) => held.delete(url);
});

const opened = [];
afterEach(() => opened.splice(0).forEach((close) => close()));

function open(tree = {}) {
  const model = new PanelModel({ ...TREE, ...tree });
  const { root, close: end } = drawPanel(start, model);
  let over = false;
  const close = () => over || ((over = true), end());
  opened.push(close);
  const all = (selector) => [...root.querySelectorAll(selector)];
  const button = (text) => all("button").find((node) => node.textContent.startsWith(text));
  return { model, root, close, all, button, one: (selector) => root.querySelector(selector) };
}

/** Type into a field, as a hand does. */
function type(node, text) {
  node.value = text;
  node.dispatchEvent(new window.Event("input", { bubbles: true }));
}

// ── words ──

test("a chip is pressed when the prompt names it between commas", () => {
  assert.equal(hasWords("Dream Pop, warm", "dream pop"), true);
  assert.equal(hasWords("dream pop", "pop"), false);
  assert.equal(hasWords("", "pop"), false);
});

test("pressing a chip adds its words, and takes them out again", () => {
  assert.equal(toggleWords("", "jazz"), "jazz");
  assert.equal(toggleWords("warm drums, ", "jazz"), "warm drums, jazz");
  assert.equal(toggleWords("warm drums, Jazz, slow", "jazz"), "warm drums, slow");
  assert.equal(toggleWords(toggleWords("a, b", "c"), "c"), "a, b");
});

test("a section stands on a line of its own", () => {
  assert.equal(sectionAt("", 0, "Verse"), "[Verse]\n");
  assert.equal(sectionAt("la", 2, "Chorus"), "\n\n[Chorus]\n");
  assert.equal(sectionAt("la\n", 3, "Chorus"), "\n[Chorus]\n");
  assert.equal(sectionAt("la\n\n", 4, "Chorus"), "[Chorus]\n");
});

test("times are told beside what is usual, and takes by their side", () => {
  assert.equal(timeTold(3, 30), "0:03 of about 0:30");
  assert.equal(timeTold(40, 30), "0:40 · longer than usual (about 0:30)");
  assert.equal(timeTold(3, null), "0:03");
  assert.deepEqual(["1.1", "1.2", "2.1"].map((id) => sideOf(id, { a: "1.1", b: "1.2" })), ["A", "B", ""]);
});

// ── the form ──

test("what is typed is told after a rest, and stays until the kernel has heard it", async () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  const { model, all } = open();
  const [prompt] = all("textarea");
  type(prompt, "sk");
  type(prompt, "slow");
  assert.equal(model.asks.length, 0);
  mock.timers.tick(300);
  assert.deepEqual(model.asks.map(({ args }) => args), [{ values: { prompt: "slow" } }]);
  model.patch(["set", ["form", "prompt"], "an older text"]);
  assert.equal(prompt.value, "slow");
  model.patch(["set", ["form", "prompt"], "slow"]);
  mock.timers.reset();
  model.answer("change", null);
  await settle();
  model.patch(["set", ["form", "prompt"], "from Python"]);
  assert.equal(prompt.value, "from Python");
});

test("chips follow the prompt, and are one stop for the Tab key", () => {
  const { model, all } = open();
  const chips = all(".bnp-chip");
  const pressed = () => chips.map((node) => node.getAttribute("aria-pressed"));
  assert.deepEqual(pressed(), ["false", "false", "true"]);
  chips[1].click();
  assert.equal(all("textarea")[0].value, "ska, dream pop");
  assert.deepEqual(pressed(), ["false", "true", "true"]);
  model.patch(["set", ["form", "prompt"], "x"]); // not while a hand's own words wait
  assert.equal(all("textarea")[0].value, "ska, dream pop");
  assert.deepEqual(chips.map((node) => node.tabIndex), [0, -1, -1]);
  const key = (node, name) => node.dispatchEvent(new window.KeyboardEvent("keydown", { key: name, bubbles: true, cancelable: true }));
  chips[0].focus();
  key(chips[0], "End");
  assert.ok(document.activeElement === chips[2]);
  key(chips[2], "ArrowRight");
  assert.ok(document.activeElement === chips[0]);
  key(chips[0], "ArrowLeft");
  assert.ok(document.activeElement === chips[2]);
});

test("an instrumental piece keeps its lyrics, and says so", () => {
  const { model, all, one, button } = open({ form: { ...FORM, lyrics: "la" } });
  const lyrics = all("textarea")[1];
  const silent = one("[role=switch]");
  silent.checked = true;
  silent.dispatchEvent(new window.Event("change", { bubbles: true }));
  assert.equal(lyrics.disabled, true);
  assert.equal(lyrics.value, "la");
  assert.equal(button("[Verse]").disabled, true);
  assert.deepEqual(model.asks.at(-1).args, { values: { instrumental: true } });
});

test("fields of options come and go with the model, and say what is wrong with them", () => {
  const { model, all } = open();
  const fields = [{ id: "suno.style_weight", label: "Style weight", kind: "number", hint: "0 to 1" }, { id: "suno.custom_mode", label: "Custom", kind: "switch", hint: "" }];
  model.patch(["set", ["fields"], fields], ["set", ["form", "options"], { "suno.style_weight": "0.5", "suno.custom_mode": true }]);
  const weight = all("input").find((node) => node.value === "0.5");
  assert.equal(all("input[type=checkbox]").filter((node) => node.checked).length, 1);
  model.patch(["set", ["problems"], { "suno.style_weight": SHY }]);
  assert.equal(weight.getAttribute("aria-invalid"), "true");
  const described = weight.getAttribute("aria-describedby").split(" ").map((id) => document.getElementById(id).textContent);
  assert.deepEqual(described, ["0 to 1", SHY]);
  model.patch(["set", ["problems"], {}]);
  assert.equal(weight.getAttribute("aria-invalid"), null);
  model.patch(["set", ["fields"], []]);
  assert.equal(weight.isConnected, false);
});

test("create says the price, and a second press is the first one's echo", async () => {
  const { model, button } = open();
  const create = button("Create");
  assert.equal(create.textContent, "Create · 80 credits");
  create.click();
  create.click();
  assert.equal(model.asks.filter(({ ask }) => ask === "create").length, 1);
  model.answer("create", null);
  await settle();
  create.click(); // answered, but within the time of a double click
  assert.equal(model.asks.filter(({ ask }) => ask === "create").length, 1);
  assert.equal(create.getAttribute("aria-disabled"), "true");
  const held = new window.KeyboardEvent("keydown", { key: "Enter", repeat: true, bubbles: true, cancelable: true });
  create.dispatchEvent(held);
  assert.equal(held.defaultPrevented, true);
});

test("what was typed a moment before Create is told before it", () => {
  const { model, all, button } = open();
  type(all("textarea")[0], "jazz");
  button("Create").click();
  assert.deepEqual(model.asks.map(({ ask }) => ask), ["change", "create"]);
});

test("a refused Create leads to the field, or shows the card", async () => {
  const { model, all, button, one } = open();
  button("Create").click();
  model.patch(["set", ["problems"], { prompt: "Say how." }]);
  model.answer("create", undefined, { message: "Say how." });
  await settle();
  assert.ok(document.activeElement === all("textarea")[0]);
  assert.equal(one(".bnp-trouble"), null);
});

// ── files ──

test("a file goes to the kernel part by part, in order", async () => {
  const { model, root } = open();
  const bytes = new Uint8Array(600 * 1024).fill(7);
  const file = new File([bytes], SHY, { type: "audio/wav" });
  const drop = new window.Event("drop", { bubbles: true, cancelable: true });
  Object.assign(drop, { dataTransfer: { types: ["Files"], files: [file] } });
  root.dispatchEvent(drop);
  assert.equal(drop.defaultPrevented, true);
  const parts = () => model.asks.filter(({ ask }) => ask === "reference_part");
  while (parts().length < 1) await settle();
  assert.deepEqual([parts()[0].args.at, parts()[0].args.size, parts()[0].args.name, parts()[0].buffers[0].byteLength], [0, 614400, SHY, 524288]);
  await settle();
  assert.equal(parts().length, 1, "the next part waits for the word that this one is there");
  model.answer("reference_part", null);
  while (parts().length < 2) await settle();
  assert.deepEqual([parts()[1].args.at, parts()[1].buffers[0].byteLength], [524288, 90112]);
});

test("a file that is too large never leaves the page", async () => {
  const { model, root, one } = open();
  const drop = new window.Event("drop", { bubbles: true, cancelable: true });
  Object.assign(drop, { dataTransfer: { types: ["Files"], files: [{ name: "x", size: 200e6 }] } });
  root.dispatchEvent(drop);
  await settle();
  assert.match(one(".bnp-trouble").textContent, /200 MB/);
  assert.equal(model.asks.length, 0);
});

// ── jobs and takes ──

test("a card shows how far its job is, and Cancel asks for it", () => {
  const { model, one, button } = open({ cards: { 1: CARD } });
  assert.equal(one(".bnp-studio-job").getAttribute("aria-label"), "Rain, running");
  assert.equal(one("[role=progressbar]").getAttribute("aria-valuenow"), "40");
  const cancel = button("Cancel");
  cancel.focus();
  cancel.click();
  assert.deepEqual(model.asks.at(-1), { ...model.asks.at(-1), ask: "cancel", args: { card: 1 } });
  model.patch(["set", ["cards", "1", "canceling"], true]);
  cancel.click();
  assert.equal(model.asks.length, 1);
  model.patch(["set", ["cards", "1", "phase"], "canceled"], ["set", ["cards", "1", "words"], "Cancelled. 80 credits refunded."]);
  assert.equal(cancel.hidden, true);
  assert.ok(document.activeElement === button("Use these settings"));
});

test("the newest job comes first, and a card keeps its nodes", () => {
  const { model, all } = open({ cards: { 1: CARD } });
  const [first] = all(".bnp-studio-job");
  model.patch(["set", ["cards", "2"], { ...CARD, title: "Two" }]);
  assert.deepEqual(all(".bnp-studio-job").map((node) => node.querySelector(".bnp-title").textContent), ["Two", "Rain"]);
  assert.equal(all(".bnp-studio-job")[1], first);
  model.patch(["drop", ["cards", "2"], null]);
  assert.deepEqual(all(".bnp-studio-job"), [first]);
});

test("an error says what to do, and Try again goes on with the same job", () => {
  const trouble = { title: "The connection failed", message: SHY, again: "Yes: same key.", retry: true };
  const { model, one, button } = open({ cards: { 1: { ...CARD, phase: "stuck", trouble } } });
  assert.match(one(".bnp-trouble").textContent, /<img src=x.*same key/s);
  button("Try again").click();
  assert.deepEqual(model.asks.at(-1).args, { card: 1 });
  assert.equal(model.asks.at(-1).ask, "again");
});

test("a sound is asked for once, and plays from a blob", async () => {
  const { model, one } = open({ cards: { 1: { ...CARD, phase: "done", takes: [TAKE] } } });
  const audio = one("audio.bnp-studio-audio[aria-label=Rain]");
  let plays = 0;
  audio.play = () => Promise.resolve(++plays);
  const play = one(".bnp-studio-take .bnp-studio-play");
  play.click();
  play.click();
  const asked = model.asks.filter(({ ask }) => ask === "audio");
  assert.equal(asked.length, 1);
  model.say({ audio: "1.1", to: "somebody else", kind: "audio/mpeg" }, [new Uint8Array([1])]);
  assert.equal(audio.getAttribute("src"), null);
  model.say({ audio: "1.1", to: asked[0].by, kind: "audio/mpeg" }, [new DataView(new ArrayBuffer(3))]);
  await settle();
  assert.match(audio.getAttribute("src"), /^blob:/);
  assert.equal(audio.hidden, false);
  assert.equal(plays, 2);
});

test("a sound that does not come says why", async () => {
  const { model, one, button } = open({ cards: { 1: { ...CARD, phase: "done", takes: [TAKE] } } });
  button("Play · 9 kB").click();
  model.answer("audio", undefined, { title: "No", message: SHY });
  await settle();
  assert.match(one(".bnp-studio-take .bnp-trouble").textContent, /<img/);
  button("Play · 9 kB").click();
  assert.equal(model.asks.filter(({ ask }) => ask === "audio").length, 2, "it can be asked for again");
});

test("a card that is dismissed takes its bytes with it, and late ones are not kept", async () => {
  const done = { ...CARD, phase: "done", takes: [TAKE, { ...TAKE, id: "1.2" }] };
  const { model, all } = open({ cards: { 1: done } });
  const [first, second] = all(".bnp-studio-take .bnp-studio-play");
  const send = () => model.say({ audio: model.sent.at(-1).args.take, to: model.sent[0].by, kind: "audio/mpeg" }, [new DataView(new ArrayBuffer(3))]);
  const audio = all(".bnp-studio-take audio")[0];
  first.click();
  send();
  await settle();
  assert.deepEqual([held.size, audio.hasAttribute("src")], [1, true]);
  second.click();
  model.patch(["drop", ["cards", "1"], null]);
  assert.deepEqual([held.size, audio.hasAttribute("src")], [0, false]);
  send();
  await settle();
  assert.equal(held.size, 0);
});

test("a reference that is replaced or removed leaves no bytes behind", async () => {
  const { model, root, button } = open();
  const bring = async (size, name) => {
    const drop = new window.Event("drop", { bubbles: true, cancelable: true });
    Object.assign(drop, { dataTransfer: { types: ["Files"], files: [new File([new Uint8Array(size)], name)] } });
    root.dispatchEvent(drop);
    while (model.asks.at(-1)?.args.name !== name) await settle();
    const { upload } = model.asks.at(-1).args;
    model.patch(["set", ["reference"], { name, facts: [], state: "ready", upload, kind: "audio/wav", wave: "" }]);
    model.answer("reference_part", null);
    await settle();
  };
  await bring(5, "one.wav");
  await bring(7, "two.wav");
  assert.deepEqual([...held.values()], [7]);
  button("Remove").click();
  assert.equal(held.size, 0);
});

test("the focus stays with what was pressed, in a shadow tree as well", async () => {
  const host = document.createElement("div");
  document.body.append(host);
  const model = new PanelModel({ ...TREE, cards: { 1: CARD, 2: { ...CARD, phase: "done", takes: [{ ...TAKE, id: "2.1" }] } } });
  const el = document.createElement("div");
  host.attachShadow({ mode: "open" }).append(el);
  const widget = start();
  opened.push(widget.initialize({ model }), widget.render({ el }));
  const root = el.firstElementChild;
  const [, running] = [...root.querySelectorAll(".bnp-studio-job")];
  const named = (node, text) => [...node.querySelectorAll("button")].find(({ textContent }) => textContent.startsWith(text));
  named(running, "Cancel").focus();
  model.patch(["set", ["cards", "1", "phase"], "canceled"]);
  assert.equal(host.shadowRoot.activeElement?.textContent, "Use these settings");
  const play = root.querySelector(".bnp-studio-take .bnp-studio-play");
  play.focus();
  play.click();
  model.say({ audio: "2.1", to: model.sent[0].by, kind: "audio/mpeg" }, [new DataView(new ArrayBuffer(3))]);
  await settle();
  assert.equal(host.shadowRoot.activeElement?.localName, "audio");
});

test("facts that say the same are each shown", () => {
  const { one } = open({ cards: { 1: { ...CARD, phase: "done", takes: [{ ...TAKE, facts: ["ska", "ska"] }] } } });
  assert.equal(one(".bnp-studio-take .bnp-studio-facts").textContent, "skaska");
});

test("only a picture that we drew becomes one", () => {
  const odd = { ...TAKE, wave: 'data:image/svg+xml;base64,AA"), url(https://evil.example' };
  const { all } = open({ cards: { 1: { ...CARD, phase: "done", takes: [odd, { ...TAKE, id: "1.2" }] } } });
  assert.deepEqual(all(".bnp-studio-take .bnp-studio-wave").map((node) => node.hidden), [true, false]);
});

test("two marked takes can be switched by one key, and their words are compared", () => {
  const takes = [TAKE, { ...TAKE, id: "1.2" }];
  const diff = { texts: [["prompt", [["same", "slow "], ["less", "blues"], ["more", SHY]]]], settings: ["seed: 1 → 2"], sound: "" };
  const { model, one, all, button } = open({ cards: { 1: { ...CARD, phase: "done", takes } } });
  assert.equal(one(".bnp-studio-compare").hidden, true);
  all(".bnp-studio-mark")[0].click();
  assert.deepEqual(model.asks.at(-1).args, { take: "1.1", side: "a" });
  model.patch(["set", ["marks"], { a: "1.1", b: "1.2" }], ["set", ["diff"], diff]);
  assert.equal(one(".bnp-studio-compare").hidden, false);
  assert.equal(one("del").textContent, "blues");
  assert.equal(one("ins").textContent, SHY);
  assert.equal(button("Switch to B").disabled, false);
  assert.equal(model.asks.filter(({ ask }) => ask === "audio").length, 2);
  assert.deepEqual(all(".bnp-studio-mark").map((node) => node.getAttribute("aria-pressed")), ["true", "false", "false", "true"]);
});

test("a closed studio leaves nothing behind", () => {
  const { model, close, root, one } = open({ cards: { 1: { ...CARD, takes: [TAKE] } } });
  one(".bnp-studio-take .bnp-studio-play").click();
  model.say({ audio: "1.1", to: model.sent[0].by, kind: "audio/mpeg" }, [new DataView(new ArrayBuffer(3))]);
  assert.deepEqual([...held.values()], [3]);
  close();
  assert.equal(root.isConnected, false);
  assert.equal(held.size, 0);
  model.patch(["set", ["form", "prompt"], "x"]);
});
