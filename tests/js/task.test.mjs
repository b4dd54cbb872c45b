import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";

import { clock } from "../../beatra_nb/display/assets/server.js";
import start, { Job, wordsOf } from "../../beatra_nb/display/assets/task.js";
import { announced, openPage } from "./page.mjs";

const STATE = { title: "City Lights", stage: "composing", message: "Take 1", percent: 40, elapsed: 3 };

/** The kernel's half, as far as the page sees it. */
class Model {
  sent = [];
  constructor(values = {}) {
    this.values = { kernel_id: "k 1", token: "secret", state: STATE, by_hand: "to cancel, interrupt", ...values };
  }
  get(name) {
    return this.values[name];
  }
  on(event, listener) {
    assert.equal(event, "msg:custom");
    this.say = listener;
  }
  send(content) {
    this.sent.push(content);
  }
}

/** Connections to the server; `answer` decides what comes back. */
class Socket {
  static made = [];
  static answer = (socket, message) => socket.hear({ parent_header: { msg_id: message.header.msg_id } });
  closed = false;
  constructor(url) {
    this.url = new URL(url);
    Socket.made.push(this);
    queueMicrotask(() => this.onopen());
  }
  send(text) {
    this.message = JSON.parse(text);
    queueMicrotask(() => Socket.answer(this, this.message));
  }
  hear(data) {
    this.onmessage({ data: typeof data === "string" ? data : JSON.stringify(data) });
  }
  close() {
    this.closed = true;
  }
}

/** Let every promise that can settle do so. */
const settle = () => new Promise((resolve) => setImmediate(resolve));
const kept = Socket.answer;
let open = [];

function draw(model, host = document.createElement("div")) {
  const widget = start();
  widget.initialize({ model });
  open.push(widget.render({ el: host }));
  return host;
}

beforeEach(() => {
  mock.timers.enable({ apis: ["setTimeout", "setInterval", "Date"] });
  globalThis.WebSocket = Socket;
  Socket.made = [];
  Socket.answer = kept;
  openPage();
});
afterEach(() => {
  for (const close of open) close();
  open = [];
  mock.timers.reset();
});

test("times are written as clocks show them", () => {
  assert.deepEqual([0, 7.9, 185, 3725, -3, NaN].map(clock), ["0:00", "0:07", "3:05", "1:02:05", "0:00", "0:00"]);
});

test("a job in words", () => {
  assert.deepEqual(wordsOf(STATE, 3), { now: "composing · Take 1", percent: "40 %", time: "0:03", hint: "" });
  assert.equal(wordsOf({ expected: 30 }, 3).time, "0:03 of about 0:30");
  assert.equal(wordsOf({ expected: 30 }, 40).time, "0:40 · longer than usual (about 0:30)");
  assert.equal(wordsOf({}, 0).now, "waiting");
  assert.equal(wordsOf({ percent: null }, 0).percent, "");
  assert.equal(wordsOf({ ...STATE, note: "connection lost" }, 0).now, "connection lost");
  const byHand = "to cancel, interrupt the kernel";
  assert.equal(wordsOf(STATE, 0, { canCancel: false, byHand }).hint, byHand);
  assert.equal(wordsOf(STATE, 0, { cancelling: "asked", byHand }).now, "cancelling…");
  const noted = wordsOf({ note: "connection lost" }, 0, { cancelling: "asked", byHand });
  assert.equal(noted.now, "cancelling… · connection lost");
  const failed = wordsOf(STATE, 0, { cancelling: "failed", byHand });
  assert.equal(failed.now, "It is not cancelled yet: interrupt the kernel");
});

test("the card shows what is known, and follows", () => {
  const ids = [["task", "task_1"], ["request id", "req_1"]];
  const model = new Model({ state: { ...STATE, sandbox: true, facts: ["auto → x", "80 credits"], ids } });
  const host = draw(model);
  const text = (name) => host.find(name).textContent;
  assert.equal(text("bnt-title"), "City Lights");
  assert.equal(text("bnt-now"), "composing · Take 1");
  assert.equal(text("bnt-foot"), "sandboxauto → x80 creditstask task_1request id req_1");
  model.say({ state: { recorded: "recorded 2026-11-23" } });
  assert.equal(text("bnt-foot"), "sandboxrecorded 2026-11-23auto → x80 creditstask task_1request id req_1");
  assert.equal(host.find("bnt-fill").style.width, "40%");
  assert.equal(host.find("bnt-bar").attributes["aria-valuenow"], "40");
  model.say({ state: { percent: 81.5, message: "Take 2" } });
  assert.equal(text("bnt-percent"), "81 %");
  assert.equal(text("bnt-now"), "composing · Take 2");
  model.say({ state: { percent: null } });
  assert.ok(host.find("bnt-unknown"));
  assert.equal(host.find("bnt-bar").attributes["aria-valuenow"], undefined);
});

test("time is counted in the page", () => {
  const host = draw(new Model());
  assert.equal(host.find("bnt-time").textContent, "0:03");
  mock.timers.tick(4000);
  assert.equal(host.find("bnt-time").textContent, "0:07");
});

test("a view that is made later starts with everything known so far", () => {
  const model = new Model();
  const widget = start();
  widget.initialize({ model });
  model.say({ state: { percent: 70 } });
  const host = document.createElement("div");
  open.push(widget.render({ el: host }));
  assert.equal(host.find("bnt-percent").textContent, "70 %");
});

test("the footer stays as it is while nothing of it changes, so that text in it can be selected", () => {
  const model = new Model({ state: { ...STATE, facts: ["80 credits"] } });
  const host = draw(model);
  const fact = host.find("bnt-fact");
  model.say({ state: { percent: 50 } });
  assert.equal(host.find("bnt-fact"), fact);
  model.say({ state: { facts: ["50 credits"] } });
  assert.equal(host.find("bnt-fact").textContent, "50 credits");
});

test("screen readers hear the start and the end only", () => {
  const model = new Model();
  draw(model);
  assert.equal(announced(), "The work has begun.");
  model.say({ state: { percent: 99 } });
  assert.equal(announced(), "The work has begun.");
  model.say({ end: "The music is ready: 2 takes." });
  assert.equal(announced(), "The music is ready: 2 takes.");
  draw(new Model({ state: { says: "An upload is on its way." } }));
  assert.equal(announced(), "An upload is on its way.");
});

test("cancelling tells the kernel by its control channel and by the widget's way", async () => {
  const model = new Model();
  const host = draw(model);
  host.find("bnt-cancel").click();
  assert.equal(host.find("bnt-cancel").textContent, "Cancelling…");
  assert.ok(host.find("bnt-cancel").disabled);
  await settle();
  assert.deepEqual(model.sent, [{ cancel: true }]);
  const [socket] = Socket.made;
  assert.equal(socket.url.origin + socket.url.pathname, "wss://hub.example/user/x/api/kernels/k%201/channels");
  assert.equal(socket.url.searchParams.get("token"), "t0");
  assert.match(socket.url.searchParams.get("session_id"), /^[0-9a-f]{32}$/);
  const { header, content, channel, buffers, parent_header: parent } = socket.message;
  assert.equal(header.msg_type, "beatra_cancel_request");
  assert.equal(header.session, socket.url.searchParams.get("session_id"));
  assert.deepEqual([content, channel, buffers, parent], [{ token: "secret" }, "control", [], {}]);
  assert.ok(socket.closed);
  host.find("bnt-cancel").click();
  await settle();
  assert.equal(Socket.made.length, 1, "once is enough");
});

test("what other messages come by does not count as an answer", async () => {
  Socket.answer = (socket) => {
    for (const data of ["{", "null", JSON.stringify({ parent_header: { msg_id: "other" } })]) socket.hear(data);
    socket.onmessage({ data: new ArrayBuffer(4) });
  };
  const host = draw(new Model());
  host.find("bnt-cancel").click();
  await settle();
  assert.equal(Socket.made[0].closed, false);
  mock.timers.tick(4000);
  await settle();
  assert.equal(Socket.made[0].closed, true);
  assert.match(host.find("bnt-now").textContent, /^It is not cancelled yet: interrupt/);
  assert.equal(host.find("bnt-cancel").disabled, false, "it can be tried again");
});

test("a connection that fails says what to do", async () => {
  Socket.answer = (socket) => socket.onerror();
  const host = draw(new Model());
  host.find("bnt-cancel").click();
  await settle();
  assert.match(host.find("bnt-now").textContent, /^It is not cancelled yet/);
});

test("a kernel that has heard and does nothing is told of after a while", async () => {
  const host = draw(new Model());
  host.find("bnt-cancel").click();
  await settle();
  assert.equal(host.find("bnt-now").textContent, "cancelling…");
  mock.timers.tick(20_000);
  assert.match(host.find("bnt-now").textContent, /^It is not cancelled yet/);
});

test("a job that ends after Cancel was pressed leaves no complaint", async () => {
  const model = new Model();
  const host = draw(model);
  host.find("bnt-cancel").click();
  await settle();
  model.say({ end: "The task was cancelled." });
  mock.timers.tick(20_000);
  assert.equal(host.find("bnt-now").textContent, "cancelling…");
  assert.ok(host.find("bnt-cancel").disabled);
});

for (const [why, values, page] of [
  ["no server stands behind the page", {}, { server: null }],
  ["the kernel has no control channel", { token: "" }, {}],
  ["the server does not know the kernel", { kernel_id: "" }, {}],
]) {
  test(`there is no button where ${why}`, () => {
    openPage(page);
    const host = draw(new Model(values));
    assert.equal(host.find("bnt-cancel"), undefined);
    assert.equal(host.find("bnt-foot").textContent, "to cancel, interrupt");
  });
}

test("a server of another origin is never told", async () => {
  openPage({ server: { baseUrl: "https://evil.example/" } });
  const host = draw(new Model());
  host.find("bnt-cancel").click();
  await settle();
  assert.equal(Socket.made.length, 0);
  assert.match(host.find("bnt-now").textContent, /^It is not cancelled yet/);
});

test("a closed view is gone", () => {
  const model = new Model();
  const widget = start();
  widget.initialize({ model });
  const host = document.createElement("div");
  widget.render({ el: host })();
  assert.equal(host.children.length, 0);
  model.say({ state: { percent: 50 } });
});

test("odd messages change nothing", () => {
  const job = new Job(new Model());
  for (const odd of [null, undefined, {}, { state: null }, { end: "" }]) job.hear(odd);
  assert.equal(job.state.title, "City Lights");
  assert.equal(job.over, false);
});
