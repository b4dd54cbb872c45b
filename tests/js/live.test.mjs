import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";

import start from "../../beatra_nb/display/assets/live.js";
import { openPage } from "./page.mjs";

/** The kernel's half, as far as the page sees it. */
class Model {
  constructor(sandbox) {
    this.values = { kernel_id: "k 1", sandbox };
  }
  get(name) {
    return this.values[name];
  }
  on(event, listener) {
    assert.equal(event, "msg:custom");
    this.say = listener;
  }
}

let open = [];

beforeEach(() => {
  mock.timers.enable({ apis: ["setInterval", "Date"] });
  openPage();
  globalThis.matchMedia = () => ({ matches: true });
  globalThis.cancelAnimationFrame = () => {};
});
afterEach(() => {
  for (const close of open) close();
  open = [];
  mock.timers.reset();
});

test("a growing answer wears the marks that it will have, in every view", () => {
  const model = new Model(true);
  const widget = start();
  widget.initialize({ model });
  const views = [0, 1].map(() => document.createElement("div"));
  open.push(widget.render({ el: views[0] }));
  const badges = (host) => host.find("bnl-badges").children.map((badge) => badge.textContent);
  assert.deepEqual(badges(views[0]), ["sandbox"]);
  model.say({ marks: ["sandbox", "recorded 2026-11-23"] });
  open.push(widget.render({ el: views[1] }));
  for (const view of views) assert.deepEqual(badges(view), ["sandbox", "recorded 2026-11-23"]);
  model.say({ marks: ["<b>recorded</b>"] });
  assert.deepEqual(badges(views[0]), ["<b>recorded</b>"]);
});
