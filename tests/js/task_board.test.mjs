import assert from "node:assert/strict";
import { beforeEach, mock, test } from "node:test";

import start, { age, passes } from "../../beatra_nb/display/assets/task_board.js";
import { drawPanel, openPanelPage, PanelModel, settle } from "./panel_page.mjs";

const SHY = "<img src=x onerror=alert(1)>";
let open = [];
beforeEach(() => {
  for (const close of open) close();
  open = [];
  openPanelPage();
});

const row = (id, more = {}) => ({
  id, status: "running", tone: "info", title: id, model: "auto", percent: 40, stage: "composing", created: Date.now() / 1000 - 70,
  elapsed: null, cost: "80 credits", refunded: "", done: false, here: false, canceling: false, why: "", busy: "",
  attached: false, note: "", error: null, saved: [], ...more,
});
const over = (id, status, more = {}) => row(id, { status, done: true, percent: 100, stage: "done", tone: "good", ...more });
const tree = (rows, more = {}) => ({ rows, lost: [], filter: "all", more: false, loading: false, looked: 1, note: "", sandbox: true, ...more });
const named = (root, text) => [...root.querySelectorAll("button")].find((node) => node.textContent === text && !node.hidden);

function draw(...given) {
  const model = new PanelModel(tree(...given));
  const { root, close } = drawPanel(start, model);
  open.push(close);
  return { model, root };
}

test("ages have one unit, and filters their tasks", () => {
  assert.deepEqual([-3, 12, 70, 7300, 200000].map(age), ["0 s", "12 s", "1 min", "2 h", "2 d"]);
  const rows = [row("a"), over("b", "succeeded"), over("c", "failed"), over("d", "canceled")];
  const ids = (filter) => rows.filter((each) => passes(each, filter)).map(({ id }) => id).join("");
  assert.deepEqual(["all", "running", "succeeded", "failed"].map(ids), ["abcd", "a", "b", "cd"]);
});

test("a task is cancelled at the second press, and not if that comes late", (context) => {
  mock.timers.enable({ apis: ["setTimeout"] });
  context.after(() => mock.timers.reset());
  const { model, root } = draw([row("a")]);
  named(root, "Cancel").click();
  assert.equal(model.asks.length, 0);
  mock.timers.tick(6000);
  named(root, "Cancel").click();
  assert.equal(model.asks.length, 0);
  named(root, "Really cancel?").click();
  assert.deepEqual([model.asks[0].ask, model.asks[0].args], ["cancel", { task: "a" }]);
  assert.ok(named(root, "Cancel"));
});

test("what can be done depends on how a task stands", () => {
  const { root } = draw([row("a"), over("b", "succeeded"), over("c", "failed"), row("d", { attached: true })]);
  const shown = [...root.querySelectorAll("tbody tr")].map((each) =>
    [...each.querySelectorAll(".bnp-board-actions button")].filter((node) => !node.hidden).map((node) => node.textContent).join());
  assert.deepEqual(shown, ["Cancel,Attach", "Download", "", "Cancel"]);
});

test("hostile titles and notes are text", () => {
  const { root } = draw([row("a", { title: SHY, note: SHY, error: { message: SHY } })], { note: SHY, lost: [{ key: "k", title: SHY, seconds: 9 }] });
  assert.ok(!root.querySelector("img"));
  assert.equal(root.textContent.split(SHY).length, 6);
});

test("a row keeps its node and its focus while it changes, and an end is announced once", async () => {
  const { model, root } = draw([row("a", { title: "Song" })]);
  const node = root.querySelector("tbody tr");
  named(root, "Attach").focus();
  model.patch(["set", ["rows", 0, "percent"], 80]);
  assert.equal(root.querySelector("[role=progressbar]").getAttribute("aria-valuenow"), "80");
  assert.equal(document.activeElement.textContent, "Attach");
  model.patch(["set", ["rows"], [row("b"), over("a", "succeeded", { title: "Song" })]]);
  assert.ok(root.querySelectorAll("tbody tr")[1] === node);
  assert.equal(document.activeElement.textContent, "Download", "its button has gone, the next one takes over");
  await settle();
  assert.equal(document.getElementById("bnl-announcer").textContent, "Song: succeeded.");
});

test("only the row that has changed is drawn", () => {
  const { model, root } = draw([row("a"), row("b"), over("c", "succeeded")]);
  const [first, second] = root.querySelectorAll("tbody tr");
  for (const node of [first, second]) node.querySelector(".bnp-board-title").textContent = "as it was";
  model.patch(["set", ["rows", 1, "percent"], 60]);
  assert.equal(first.querySelector(".bnp-board-title").textContent, "as it was");
  assert.equal(second.querySelector(".bnp-board-title").textContent, "b");
  model.patch(["set", ["filter"], "running"]);
  assert.equal(root.querySelectorAll("tbody tr").length, 2);
  model.patch(["set", ["rows", 1, "status"], "failed"], ["set", ["rows", 1, "done"], true]);
  assert.equal(root.querySelectorAll("tbody tr").length, 1, "one that has ended is not among those that run");
  model.patch(["set", ["filter"], "all"]);
  assert.equal(root.querySelectorAll("tbody tr")[2].querySelector(".bnp-badge").textContent, "succeeded");
});

test("an empty board says why", () => {
  const { model, root } = draw([], { looked: null });
  const empty = root.querySelector(".bnp-empty");
  assert.equal(empty.textContent, "Looking …");
  model.patch(["set", ["looked"], 5]);
  assert.equal(empty.textContent, "No tasks yet.");
  model.patch(["set", ["rows"], [row("a")]], ["set", ["filter"], "failed"]);
  assert.equal(empty.textContent, "No such task among those that are loaded.");
});

test("a board's own trouble is shown on top, a task's in its row", async () => {
  const { model, root } = draw([over("a", "succeeded")], { more: true });
  named(root, "Show more").click();
  model.answer("more", null, { message: "no answer" });
  named(root, "Download").click();
  model.answer("download", null, { message: "a full disk" });
  await settle();
  assert.match(root.querySelector(".bnp-board-problem").textContent, /no answer/);
  assert.doesNotMatch(root.textContent, /a full disk/); // the kernel puts it into the row
});

test("it tells the kernel that somebody looks, and stops when it is closed", (context) => {
  mock.timers.enable({ apis: ["setInterval"] });
  context.after(() => mock.timers.reset());
  const { model } = draw([]);
  mock.timers.tick(60000);
  assert.equal(model.asks.filter(({ ask }) => ask === "here").length, 1);
  open.pop()();
  mock.timers.tick(200000);
  assert.equal(model.asks.filter(({ ask }) => ask === "here").length, 1);
});
