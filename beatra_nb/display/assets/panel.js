/**
 * What all panels share in the page (the kernel's half: interact/panel.py and interact/page.py).
 *
 * A panel mirrors a document, a tree of plain values that the kernel alone changes: patches come as custom messages,
 * counted, and a page that has missed one asks for the whole. What a hand does is asked of the kernel, and the kernel
 * answers each question. Nodes are made by createElement and filled by textContent: no text can become markup.
 *
 * @typedef {{
 *   get(name: string): any,
 *   on(event: string, callback: (...args: any[]) => void): void,
 *   send(content: unknown, callbacks?: unknown, buffers?: ArrayBuffer[]): void,
 *   widget_manager?: {kernel?: Kernel},
 * }} Model
 * @typedef {{connect(slot: Function): void, disconnect(slot: Function): void}} Signal
 * @typedef {{status?: string, statusChanged?: Signal, disposed?: Signal, iopubMessage?: Signal}} Kernel
 * @typedef {string | number} Key
 * @typedef {[kind: string, path: Key[], value: any]} Patch
 * @typedef {{title?: string, message?: string, again?: string, todo?: string, request_id?: string, code?: string,
 *   retryable?: boolean}} Trouble
 * @typedef {{resolve: (value: any) => void, reject: (error: Error) => void, heard: boolean,
 *   waiting?: ReturnType<typeof setTimeout>}} Asked
 */
import { announce, isReachable, make, tellKernel } from "./server.js";

const HEARD_WITHIN = 1500; // milliseconds after which a question that nobody has heard gets a word of explanation
const LOOKS = 4; // times that a kernel which seems busy is looked at again
const URGENT_AFTER = 300; // milliseconds after which an urgent one goes the other way as well
const ENDS = new Set(["restarting", "autorestarting", "starting", "dead", "terminating"]);
const GONE = "The kernel was restarted or has ended. Run this cell again to go on; what is here can still be read.";
const BUSY = "The kernel is running a cell; it will answer when that is done.";

/** The error that a question was answered with; its words are those of the error's card. */
export class Refused extends Error {
  /** @param {Trouble} trouble */
  constructor(trouble) {
    super(trouble.message || trouble.title || "Something went wrong");
    this.trouble = trouble;
  }
}

/** The document as this page knows it, and the way to ask. */
export class Mirror {
  /** @param {Model} model */
  constructor(model) {
    this.model = model;
    this.kernel = String(model.get("kernel_id") ?? "");
    this.token = String(model.get("token") ?? "");
    this.me = Math.random().toString(36).slice(2); // tells this page from another one on the same kernel
    this.number = 0;
    this.gone = false;
    this.process = ""; // which process of the kernel's this panel lives in
    this.busy = false;
    announce(""); // the place for it is there before the first word: then screen readers hear the first word, too
    /** @type {Map<number, Asked>} */
    this.asked = new Map();
    /** @type {Set<{draw(changed: Patch[] | null): void, close(): void, hears?(message: any, buffers: any[]): void}>} */
    this.views = new Set();
    const whole = model.get("state") ?? {};
    /** @type {any} */
    this.tree = whole.tree ?? {};
    this.n = Number(whole.n) || 0;
    model.on("msg:custom", (message, buffers) => this.hear(message, buffers ?? []));
    // A restart from this page, or a death; then one from elsewhere, and an end.
    model.on("comm_live_update", () => this.lose());
    const kernel = model.widget_manager?.kernel;
    const status = (/** @type {unknown} */ _, /** @type {string} */ now) => ENDS.has(now) && this.lose();
    const disposed = () => this.lose();
    // A page that misses the word of a restart sees that other messages come: each process signs with its own session.
    const successor = (/** @type {unknown} */ _, /** @type {any} */ message) => {
      if (message?.header?.msg_type !== "status" || !/^(busy|idle)$/.test(message.content?.execution_state)) return;
      const { session } = message.header;
      if (this.process && session && session !== this.process) this.lose();
      this.process = session;
    };
    kernel?.statusChanged?.connect(status);
    kernel?.disposed?.connect(disposed);
    kernel?.iopubMessage?.connect(successor);
    this.forget = () => {
      kernel?.statusChanged?.disconnect(status);
      kernel?.disposed?.disconnect(disposed);
      kernel?.iopubMessage?.disconnect(successor);
    };
    // Messages may have come between the state and this moment.
    this.ask("whole").then((now) => this.take(now), () => {});
  }

  /** @param {any} message @param {any[]} buffers */
  hear(message, buffers) {
    if (Array.isArray(message?.patch)) this.patch(Number(message.n), message.patch);
    else if (typeof message?.re === "number") this.answered(message);
    for (const view of this.views) view.hears?.(message, buffers);
  }

  /** @param {number} n @param {Patch[]} patches */
  patch(n, patches) {
    if (n <= this.n) return;
    if (n > this.n + 1) {
      this.ask("whole").then((whole) => this.take(whole), () => {});
      return;
    }
    this.n = n;
    for (const patch of patches) applyPatch(this.tree, patch);
    for (const view of this.views) view.draw(patches);
  }

  /** Take the whole document. @param {any} whole */
  take(whole) {
    if (!whole?.tree || whole.n < this.n) return;
    const news = whole.n !== this.n;
    this.n = whole.n;
    if (!news) return;
    this.tree = whole.tree;
    for (const view of this.views) view.draw(null);
  }

  /**
   * Ask the kernel, and wait for its answer.
   * @param {string} ask @param {Record<string, unknown>} [args] @param {ArrayBuffer[]} [buffers]
   * @returns {Promise<any>} its value; it fails with `Refused`
   */
  ask(ask, args = {}, buffers = []) {
    if (this.gone) return Promise.reject(new Refused({ title: "No kernel", message: GONE }));
    const id = ++this.number;
    return new Promise((resolve, reject) => {
      const waiting = setTimeout(() => this.unheard(id), HEARD_WITHIN);
      this.asked.set(id, { resolve, reject, waiting, heard: false });
      try {
        this.model.send({ ask, id, by: this.me, args }, undefined, buffers);
      } catch {
        this.lose();
      }
    });
  }

  /** Ask what must be heard while a cell runs as well: by the control channel too. @param {string} ask @param {Record<string, unknown>} [args] */
  urge(ask, args = {}) {
    const asked = this.ask(ask, args);
    const id = this.number;
    if (this.token && isReachable(this.kernel)) {
      const content = { token: this.token, ask, id, by: this.me, args };
      const tell = () => tellKernel(this.kernel, "beatra_cancel_request", content).catch(() => {});
      setTimeout(() => this.asked.get(id)?.heard === false && tell(), URGENT_AFTER);
    }
    return asked;
  }

  /**
   * Say that a question waits. A kernel that is idle all the same has not seen it: a reply of its own can make
   * ipykernel overlook what came in meanwhile, until somebody connects anew (its issue 1554). So somebody does.
   * @param {number} id @param {number} [looks] how often it was looked before
   */
  unheard(id, looks = 0) {
    this.wait(true);
    const asked = this.asked.get(id);
    // A page may have missed that the kernel is idle by now: after a few looks it is asked all the same.
    const idle = this.model.widget_manager?.kernel?.status === "idle" || looks === LOOKS;
    if (idle && isReachable(this.kernel)) tellKernel(this.kernel, "kernel_info_request", {}).catch(() => {});
    else if (asked && looks < LOOKS) asked.waiting = setTimeout(() => this.unheard(id, looks + 1), HEARD_WITHIN);
  }

  /** @param {{re: number, to: string, heard?: boolean, value?: any, error?: Trouble}} message */
  answered(message) {
    if (message.to !== this.me) return;
    const asked = this.asked.get(message.re);
    if (!asked) return;
    clearTimeout(asked.waiting);
    asked.heard = true;
    this.wait(false);
    if (message.heard) return;
    this.asked.delete(message.re);
    if (message.error) asked.reject(new Refused(message.error));
    else asked.resolve(message.value);
  }

  /** @param {boolean} busy */
  wait(busy) {
    if (busy === this.busy) return;
    this.busy = busy;
    for (const view of this.views) view.draw([]);
  }

  /** The kernel is gone, and with it everything that could answer. */
  lose() {
    if (this.gone) return;
    this.gone = true;
    announce(GONE);
    for (const { reject, waiting } of this.asked.values()) {
      clearTimeout(waiting);
      reject(new Refused({ title: "No kernel", message: GONE }));
    }
    this.asked.clear();
    for (const view of this.views) view.draw([]);
  }
}

/** Apply one patch to a tree. @param {any} tree @param {Patch} patch */
export function applyPatch(tree, [kind, path, value]) {
  if (path.includes("__proto__")) return; // a name that JSON can hold, and that would reach what all objects share
  const way = kind === "push" ? path : path.slice(0, -1);
  const key = path[path.length - 1];
  let place = tree;
  for (const step of way) place = place?.[step];
  if (place === null || typeof place !== "object") return;
  if (kind === "push") place.push(value);
  else if (kind === "set") place[key] = value;
  else if (kind === "grow") place[key] += value;
  else if (kind === "drop" && Array.isArray(place)) place.splice(Number(key), 1);
  else if (kind === "drop") delete place[key];
}

/** Whether any of the patches touches what lies at a path. @param {Patch[] | null} patches @param {...Key} path */
export function touches(patches, ...path) {
  if (patches === null) return true;
  return patches.some(([, at]) => path.every((key, i) => i >= at.length || at[i] === key));
}

/**
 * A panel in the page: its root, its note about the kernel, and its place among the shortcuts of the notebook.
 * A panel extends it, builds its nodes into `this.root` in its constructor, and draws in `show(patches)`.
 */
export class PanelView {
  /** @param {Mirror} mirror @param {HTMLElement} el @param {string} kind @param {string} label */
  constructor(mirror, el, kind, label) {
    this.mirror = mirror;
    // The notebook's single-letter shortcuts are for its cells, not for what is typed or pressed here.
    this.root = make("div", `bnp ${kind}`, { role: "group", "aria-label": label, "data-lm-suppress-shortcuts": "true" });
    this.note = make("div", "bnp-note", { role: "status", hidden: "" });
    this.root.append(this.note);
    // JupyterLab refuses a line break in anything within a cell, because Shift+Enter runs it: it must not hear of ours.
    const keep = (/** @type {InputEvent} */ event) => event.inputType === "insertLineBreak" && event.stopPropagation();
    this.root.addEventListener("beforeinput", keep, true);
    // What came while somebody was writing in a field is shown when the field is left.
    this.root.addEventListener("focusout", () => setTimeout(() => this.root.isConnected && this.draw(null)));
    el.append(this.root);
    this.leave = letSaving(this.root);
  }

  /** What the kernel knows. @returns {any} */
  get tree() {
    return this.mirror.tree;
  }

  /** @param {Patch[] | null} patches what has changed; null for everything */
  draw(patches) {
    const words = this.mirror.gone ? GONE : this.mirror.busy ? BUSY : "";
    this.show(patches);
    // Below everything: nothing moves under a hand.
    if (this.root.lastElementChild !== this.note) this.root.append(this.note);
    setText(this.note, words);
    this.note.hidden = !words;
    if (!this.mirror.gone) return;
    this.root.classList.add("bnp-gone");
    for (const node of this.root.querySelectorAll("textarea, input")) /** @type {HTMLInputElement} */ (node).readOnly = true;
  }

  /** @param {Patch[] | null} patches */
  show(patches) {
    void patches;
  }

  close() {
    this.leave();
    this.root.remove();
  }
}

/**
 * The default export of a panel's module.
 * @param {(mirror: Mirror, el: HTMLElement) => PanelView} makeView
 */
export function panel(makeView) {
  return () => {
    /** @type {Mirror} */
    let mirror;
    return {
      /** @param {{model: Model}} context */
      initialize({ model }) {
        mirror = new Mirror(model);
        return () => mirror.forget();
      },
      /** @param {{el: HTMLElement}} context */
      render({ el }) {
        const view = makeView(mirror, el);
        mirror.views.add(view);
        view.draw(null);
        return () => {
          mirror.views.delete(view);
          view.close();
        };
      },
    };
  };
}

/** Let Ctrl+S and its like reach the notebook from within a panel. @param {HTMLElement} root */
function letSaving(root) {
  const judge = (/** @type {KeyboardEvent} */ event) => {
    if (!(event.target instanceof Node) || !root.contains(event.target)) return;
    const saving = (event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "s";
    if (saving) root.removeAttribute("data-lm-suppress-shortcuts");
    else root.setAttribute("data-lm-suppress-shortcuts", "true");
  };
  // Before the notebook, which listens on the document.
  window.addEventListener("keydown", judge, true);
  return () => window.removeEventListener("keydown", judge, true);
}

// ── pieces ──

/** @param {Node} node @param {string} text */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/**
 * @param {string} label @param {() => void} press
 * @param {{kind?: "" | "primary" | "danger" | "quiet", title?: string, name?: string}} [look] `name` is what a screen reader says
 * @returns {HTMLButtonElement}
 */
export function button(label, press, { kind = "", title = "", name = "" } = {}) {
  const node = make("button", `bnp-button${kind ? ` bnp-${kind}` : ""}`, { type: "button" }, label);
  if (title) node.title = title;
  if (name) node.setAttribute("aria-label", name);
  node.addEventListener("click", press);
  return node;
}

// Each panel of a page is an instance of this module: a count alone would name fields of several panels alike.
const instance = Math.random().toString(36).slice(2);
let fields = 0;

/** A label and what it belongs to. @template {HTMLElement} T @param {string} label @param {T} input @param {string} [hint] */
export function field(label, input, hint = "") {
  input.id = input.id || `bnp-field-${instance}-${++fields}`;
  const node = make("div", "bnp-field");
  node.append(make("label", "bnp-label", { for: input.id }, label), input);
  if (hint) {
    const id = `${input.id}-hint`;
    node.append(make("div", "bnp-hint", { id }, hint));
    input.setAttribute("aria-describedby", id);
  }
  return node;
}

/** A text field that grows with its text. @param {string} placeholder @param {number} [rows] @returns {HTMLTextAreaElement} */
export function textArea(placeholder, rows = 2) {
  return make("textarea", "bnp-input bnp-text", { placeholder, rows: String(rows), dir: "auto", spellcheck: "true" });
}

/** @param {string} type @param {Record<string, string>} [attrs] @returns {HTMLInputElement} */
export function input(type, attrs = {}) {
  return make("input", "bnp-input", { type, ...attrs });
}

/** Fill a select; it has no half-typed state, so it always shows what holds. @param {HTMLSelectElement} node @param {{value: string, label?: string}[]} options @param {string} value */
export function fillSelect(node, options, value) {
  const known = JSON.stringify(options);
  if (node.dataset.known !== known) {
    node.dataset.known = known;
    node.replaceChildren(...options.map((each) => make("option", "", { value: each.value }, each.label ?? each.value)));
  }
  if (node.value !== value) node.value = value;
}

/** @param {Record<string, string>} [attrs] @returns {HTMLSelectElement} */
export function select(attrs = {}) {
  return make("select", "bnp-input bnp-select", attrs);
}

/** What has the focus beside or below a node; some front ends keep widgets in a shadow tree. @param {Node} node */
export function focusIn(node) {
  const root = /** @type {Document | ShadowRoot} */ (node.getRootNode());
  return /** @type {HTMLElement | null} */ (root.activeElement ?? null);
}

/** @param {Node} node */
export function hasFocus(node) {
  return focusIn(node) === node;
}

/** A text field's value, unless somebody is writing in it. @param {HTMLInputElement | HTMLTextAreaElement} node @param {string} value */
export function setValue(node, value) {
  if (node.value !== value && !hasFocus(node)) node.value = value;
}

/**
 * Match a node's children to a list: what stays keeps its node, and with it its focus and selection.
 * @template T
 * @param {HTMLElement} parent @param {T[]} items @param {(item: T, i: number) => string} keyOf
 * @param {(item: T, i: number) => HTMLElement} makeNode
 * @param {(node: HTMLElement, item: T, i: number) => void} [update]
 */
export function matchList(parent, items, keyOf, makeNode, update) {
  /** @type {Map<string, HTMLElement>} */
  const old = new Map();
  for (const child of /** @type {HTMLElement[]} */ ([...parent.children])) old.set(child.dataset.key ?? "", child);
  const keys = items.map(keyOf);
  const stays = new Set(keys);
  // What goes, goes first: a node that need not move keeps its focus.
  for (const [key, node] of old) if (!stays.has(key)) node.remove();
  const focused = focusIn(parent);
  items.forEach((item, i) => {
    const node = old.get(keys[i]) ?? makeNode(item, i);
    node.dataset.key = keys[i];
    if (parent.children[i] !== node) parent.insertBefore(node, parent.children[i] ?? null);
    update?.(node, item, i);
  });
  if (focused && focusIn(parent) !== focused && parent.contains(focused)) focused.focus();
}

/** An error, in the words of its card. @param {Trouble} trouble @param {() => void} [retry] */
export function errorCard(trouble, retry) {
  const card = make("div", "bnp-trouble", { role: "alert" });
  const head = make("div", "bnp-trouble-head", {}, trouble.title ?? "Something went wrong");
  if (trouble.code) head.append(" ", make("span", "bnp-badge bnp-bad", {}, trouble.code));
  card.append(head, make("div", "", { dir: "auto" }, trouble.message ?? ""));
  if (trouble.again) card.append(make("div", "bnp-quiet", {}, `Try again? ${trouble.again}`));
  if (trouble.todo) card.append(make("div", "bnp-quiet", { dir: "auto" }, trouble.todo));
  if (trouble.request_id) card.append(requestId(trouble.request_id));
  if (retry) card.append(button("Try again", retry));
  return card;
}

/** @param {string} id */
export function requestId(id) {
  const node = make("span", "bnp-quiet");
  node.append("request id ", make("code", "bnp-id", {}, id));
  return node;
}

/** @param {string} text @param {"" | "good" | "warn" | "bad" | "info"} [tone] */
export function badge(text, tone = "") {
  return make("span", `bnp-badge${tone ? ` bnp-${tone}` : ""}`, {}, text);
}

/** Run something a little later, and only the last time. @param {() => void} work @param {number} ms */
export function later(work, ms) {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  const call = () => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      timer = undefined;
      work();
    }, ms);
  };
  /** Do it now, if it is still to be done. */
  call.now = () => {
    if (timer === undefined) return;
    clearTimeout(timer);
    timer = undefined;
    work();
  };
  return call;
}

/** @type {WeakMap<HTMLElement, {label: string, timer: ReturnType<typeof setTimeout>}>} */
const copied = new WeakMap();

/** Copy a text, and say so on the button for a moment. @param {HTMLButtonElement} node @param {string} text */
export async function copyText(node, text) {
  const before = copied.get(node);
  clearTimeout(before?.timer);
  const label = before?.label ?? node.textContent ?? "";
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Pages over plain http have no clipboard of that kind.
    const area = make("textarea", "bnp-offscreen", {}, "");
    area.value = text;
    node.after(area);
    area.select();
    document.execCommand("copy");
    area.remove();
    node.focus();
  }
  node.style.minWidth = `${node.offsetWidth}px`; // its neighbours stay where they are
  node.textContent = "✓ Copied";
  announce("Copied.");
  const timer = setTimeout(() => {
    copied.delete(node);
    setText(node, label);
    node.style.minWidth = "";
  }, 1200);
  copied.set(node, { label, timer });
}
