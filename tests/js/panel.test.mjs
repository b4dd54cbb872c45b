import assert from "node:assert/strict";
import { beforeEach, mock, test } from "node:test";

import { applyPatch, button, copyText, errorCard, field, fillSelect, later, matchList, Mirror, panel, PanelView, Refused, select, setValue, textArea, touches } from "../../beatra_nb/display/assets/panel.js";
import { drawPanel, openPanelPage, PanelModel, settle } from "./panel_page.mjs";

const SHY = "<img src=x onerror=alert(1)>";
let body;
beforeEach(() => {
  body = openPanelPage();
});

class Probe extends PanelView {
  constructor(mirror, el) {
    super(mirror, el, "bnp-probe", "Probe");
    this.drawn = [];
    Probe.last = this;
  }
  show(patches) {
    this.drawn.push(patches);
  }
}
const start = panel((mirror, el) => new Probe(mirror, el));

test("patches change the tree as they say", () => {
  const tree = { text: "a", list: [{ name: "x" }], more: { a: 1 } };
  const apply = (...patch) => applyPatch(tree, patch);
  apply("grow", ["text"], "b");
  apply("push", ["list"], { name: "y" });
  apply("set", ["list", 1, "name"], "z");
  apply("drop", ["list", 0], null);
  apply("drop", ["more", "a"], null);
  apply("set", ["nowhere", "at", "all"], 1);
  assert.deepEqual(tree, { text: "ab", list: [{ name: "z" }], more: {} });
});

test("a patch cannot reach what all objects share", () => {
  applyPatch({}, ["set", ["__proto__", "polluted"], 1]);
  assert.equal({}.polluted, undefined);
});

test("a select shows what holds, also under the focus", () => {
  const node = select();
  body.append(node);
  fillSelect(node, [{ value: "auto" }], "auto");
  node.focus();
  fillSelect(node, [{ value: "auto" }, { value: "mine" }], "mine");
  assert.equal(node.value, "mine");
});

test("a button that copies has its own words again, however often it is pressed", async () => {
  const node = button("Copy", () => {});
  body.append(node);
  document.execCommand = () => true;
  await copyText(node, "x");
  await copyText(node, "y");
  assert.equal(node.textContent, "✓ Copied");
  await new Promise((resolve) => setTimeout(resolve, 1300));
  assert.equal(node.textContent, "Copy");
});

test("what came while somebody was writing is shown when the field is left", async () => {
  const model = new PanelModel({ text: "a" });
  const { root, close } = drawPanel(start, model);
  const view = Probe.last;
  const area = textArea("");
  root.append(area);
  view.show = () => setValue(area, view.tree.text);
  area.focus();
  model.patch(["set", ["text"], "b"]);
  assert.equal(area.value, "");
  area.blur();
  await settle();
  assert.equal(area.value, "b");
  close();
});

test("what a patch touches is told by its path", () => {
  const patches = [["set", ["turns", 3, "text"], "x"]];
  assert.equal(touches(patches, "turns"), true);
  assert.equal(touches(patches, "turns", 3), true);
  assert.equal(touches(patches, "turns", 2), false);
  assert.equal(touches([["set", ["turns"], []]], "turns", 2), true);
  assert.equal(touches(null, "anything"), true);
});

test("a view sees each patch, and a message that comes twice changes nothing", () => {
  const model = new PanelModel({ text: "a" });
  drawPanel(start, model);
  model.say({ n: 1, patch: [["grow", ["text"], "b"]] });
  model.say({ n: 1, patch: [["grow", ["text"], "b"]] });
  assert.equal(Probe.last.tree.text, "ab");
  assert.equal(Probe.last.drawn.length, 2); // everything, then one patch
});

test("a page that has missed a message asks for the whole", async () => {
  const model = new PanelModel({ text: "a" });
  drawPanel(start, model);
  const before = model.sent.length;
  model.say({ n: 3, patch: [["grow", ["text"], "c"]] });
  assert.equal(model.sent.length, before + 1);
  assert.equal(model.sent.at(-1).ask, "whole");
  model.answer("whole", { n: 3, tree: { text: "abc" } });
  await settle();
  assert.equal(Probe.last.tree.text, "abc");
});

test("an answer goes to who has asked, and an error in words fails the question", async () => {
  const model = new PanelModel({});
  const mirror = new Mirror(model);
  const asked = mirror.ask("send", { text: "hi" });
  const { id, by } = model.sent.at(-1);
  model.say({ re: id, to: "somebody else", value: 1 });
  model.say({ re: id, to: by, heard: true });
  model.say({ re: id, to: by, value: 7 });
  assert.equal(await asked, 7);
  const refused = mirror.ask("send", {});
  model.answer("send", undefined, { title: "An argument cannot be used", message: "It is empty." });
  await assert.rejects(refused, (error) => error instanceof Refused && error.trouble.message === "It is empty.");
});

test("a kernel that is gone is said once, and every question fails at once", async () => {
  const model = new PanelModel({});
  const { root } = drawPanel(start, model);
  const asked = Probe.last.mirror.ask("send");
  model.fire("comm_live_update");
  await assert.rejects(asked, /Run this cell again/);
  assert.equal(root.querySelector(".bnp-note").hidden, false);
  assert.match(root.querySelector(".bnp-note").textContent, /Run this cell again/);
  model.dead = true;
  await assert.rejects(Probe.last.mirror.ask("send"), Refused);
});

test("a send that throws means that the kernel is gone", async () => {
  const model = new PanelModel({});
  drawPanel(start, model);
  model.dead = true;
  await assert.rejects(Probe.last.mirror.ask("send"), Refused);
  assert.equal(Probe.last.mirror.gone, true);
});

test("a list keeps the nodes of what stays, with their focus", () => {
  const parent = document.createElement("div");
  body.append(parent);
  const make = (item) => Object.assign(document.createElement("button"), { textContent: item });
  matchList(parent, ["a", "b", "c"], (item) => item, make);
  const [, b] = parent.children;
  b.focus();
  matchList(parent, ["b", "d"], (item) => item, make);
  // Not assert.equal: to describe a difference it would walk through the whole page.
  assert.ok(parent.children[0] === b);
  assert.ok(document.activeElement === b);
  assert.deepEqual([...parent.children].map((node) => node.textContent), ["b", "d"]);
});

test("a node that moves keeps its focus, too", () => {
  const parent = document.createElement("div");
  body.append(parent);
  const make = (item) => Object.assign(document.createElement("button"), { textContent: item });
  matchList(parent, ["a", "b"], (item) => item, make);
  const a = parent.children[0];
  a.focus();
  matchList(parent, ["b", "a"], (item) => item, make);
  assert.ok(parent.children[1] === a && document.activeElement === a);
});

test("text is text, whoever wrote it", () => {
  const card = errorCard({ title: SHY, message: SHY, again: SHY, todo: SHY, request_id: SHY, code: SHY }, () => {});
  const row = field(SHY, textArea(SHY), SHY);
  body.append(card, row, button(SHY, () => {}, { title: SHY, name: SHY }));
  assert.equal(body.querySelector("img"), null);
  assert.match(card.textContent, /<img src=x/);
});

test("a label belongs to its field, and so does its hint", () => {
  const row = field("Name", textArea("write"), "In one word");
  const [label, area, hint] = row.children;
  assert.equal(label.getAttribute("for"), area.id);
  assert.equal(area.getAttribute("aria-describedby"), hint.id);
});

test("what is put off is done once, and at once when it must be", async () => {
  let count = 0;
  const call = later(() => count++, 1);
  call();
  call();
  await settle();
  assert.equal(count, 1);
  call();
  call.now();
  call.now();
  assert.equal(count, 2);
});

test("a panel takes its place among the shortcuts, and lets saving through", () => {
  const model = new PanelModel({});
  const { root, close } = drawPanel(start, model);
  const press = (init) => root.dispatchEvent(new window.KeyboardEvent("keydown", { bubbles: true, ...init }));
  assert.equal(root.getAttribute("data-lm-suppress-shortcuts"), "true");
  press({ key: "s", ctrlKey: true });
  assert.equal(root.getAttribute("data-lm-suppress-shortcuts"), null);
  press({ key: "a" });
  assert.equal(root.getAttribute("data-lm-suppress-shortcuts"), "true");
  close();
  assert.equal(root.isConnected, false);
});

/** A kernel behind a notebook server, as the page reaches it; `sockets` is what the page has opened to it. */
function openKernel(status) {
  const sockets = [];
  globalThis.WebSocket = class {
    constructor(url) {
      this.url = url;
      sockets.push(this);
      queueMicrotask(() => this.onopen());
    }
    send(text) {
      this.message = JSON.parse(text);
      this.onmessage({ data: JSON.stringify({ parent_header: { msg_id: this.message.header.msg_id } }) });
    }
    close() {
      this.closed = true;
    }
  };
  const config = document.createElement("script");
  config.id = "jupyter-config-data";
  config.type = "application/json";
  config.textContent = JSON.stringify({ baseUrl: "/", token: "" });
  document.body.append(config);
  const signal = () => ({ slots: [], connect(slot) { this.slots.push(slot); }, disconnect() {}, emit(word) { for (const slot of this.slots) slot(this, word); } });
  const kernel = { status, statusChanged: signal(), disposed: signal(), iopubMessage: signal() };
  const model = new PanelModel({});
  const get = model.get.bind(model);
  model.get = (name) => ({ kernel_id: "k", token: "secret" })[name] ?? get(name);
  model.widget_manager = { kernel };
  return { kernel, model, sockets };
}

test("what is urgent goes by the control channel only when nobody has heard it", async () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  try {
    const { model, sockets } = openKernel("busy");
    const mirror = new Mirror(model);
    mirror.urge("stop");
    model.answer("stop", null);
    mock.timers.tick(300);
    assert.equal(sockets.length, 0);
    mirror.urge("stop", { lane: 1 });
    mock.timers.tick(300);
    await Promise.resolve();
    assert.deepEqual(sockets[0].message.content, { token: "secret", ask: "stop", id: mirror.number, by: mirror.me, args: { lane: 1 } });
    assert.equal(sockets[0].message.channel, "control");
  } finally {
    mock.timers.reset();
  }
});

test("a kernel that is idle and has not heard is woken by a new connection; a busy one is left alone", async () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  try {
    for (const [status, opened] of [["idle", 1], ["busy", 0]]) {
      const { model, sockets } = openKernel(status);
      const mirror = new Mirror(model);
      model.answer("whole", null);
      mirror.ask("send");
      mock.timers.tick(1500);
      await Promise.resolve();
      assert.ok(mirror.busy);
      assert.equal(sockets.length, opened);
      if (opened) assert.equal(sockets[0].message.header.msg_type, "kernel_info_request");
    }
  } finally {
    mock.timers.reset();
  }
});

test("messages of another process mean that the kernel was restarted, those of its server do not", () => {
  const { kernel, model } = openKernel("idle");
  const mirror = new Mirror(model);
  const say = (session, type, content) => kernel.iopubMessage.emit({ header: { msg_type: type, session }, content });
  say("one", "status", { execution_state: "busy" });
  say("server", "stream", { text: "too much" });
  say("server", "status", { execution_state: "restarting" });
  say("one", "status", { execution_state: "idle" });
  assert.equal(mirror.gone, false);
  say("two", "status", { execution_state: "busy" });
  assert.ok(mirror.gone);
});
