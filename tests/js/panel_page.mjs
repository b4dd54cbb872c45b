/** A page for panels: a real DOM (happy-dom), and the kernel's half as far as the page sees it. */

import { Window } from "happy-dom";

/** Put an empty page in the place of the globals. */
export function openPanelPage() {
  const window = new Window({ url: "https://hub.example/lab" });
  // Events stay in the window (`new window.KeyboardEvent(…)`): node's own are needed by its test runner.
  Object.assign(globalThis, { window, document: window.document, Node: window.Node, HTMLElement: window.HTMLElement });
  globalThis.location = new URL("https://hub.example/lab");
  globalThis.matchMedia = () => ({ matches: true }); // reduced motion: everything is drawn at once
  globalThis.requestAnimationFrame = (work) => setTimeout(() => work(performance.now()), 0);
  globalThis.cancelAnimationFrame = clearTimeout;
  return window.document.body;
}

/** The model of a panel: `sent` are the questions of the page, `answer` and `patch` are the kernel's words. */
export class PanelModel {
  sent = [];
  #listeners = {};
  #n = 0;

  constructor(tree) {
    this.tree = structuredClone(tree);
  }
  get(name) {
    return { kernel_id: "", token: "", state: { n: 0, tree: structuredClone(this.tree) } }[name];
  }
  on(event, listener) {
    (this.#listeners[event] ??= []).push(listener);
  }
  send(content, callbacks, buffers = []) {
    if (this.dead) throw new Error("Cannot send");
    this.sent.push({ ...content, buffers });
  }
  /** Questions but the first, which asks for the whole. */
  get asks() {
    return this.sent.filter(({ ask }) => ask !== "whole");
  }
  say(message, buffers = []) {
    this.fire("msg:custom", message, buffers);
  }
  fire(event, ...args) {
    for (const listener of this.#listeners[event] ?? []) listener(...args);
  }
  patch(...patches) {
    this.say({ n: ++this.#n, patch: patches });
  }
  /** Answer the last question of a name. */
  answer(ask, value, error) {
    const asked = this.sent.findLast((each) => each.ask === ask);
    this.say({ re: asked.id, to: asked.by, ...(error ? { error } : { value }) });
  }
}

/** Draw a panel; returns its root and how to close it. */
export function drawPanel(start, model) {
  const widget = start();
  const forget = widget.initialize({ model });
  const host = document.createElement("div");
  document.body.append(host);
  const close = widget.render({ el: host });
  return {
    root: host.firstElementChild,
    close: () => {
      close();
      forget();
    },
  };
}

/** Let every promise that can settle do so. */
export const settle = () => new Promise((resolve) => setTimeout(resolve, 5));
