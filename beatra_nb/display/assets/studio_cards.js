/**
 * The jobs of a music studio: a card for each, with how far it is or what came of it, and the comparison of two takes.
 *
 * @typedef {import("./panel.js").Mirror} Mirror
 * @typedef {import("./studio_player.js").Take} Take
 * @typedef {{title: string, phase: string, stage: string, message: string, note: string, percent: number | null,
 *   elapsed: number, expected: number | null, canceling: boolean, facts: string[], ids: [string, string][],
 *   sandbox: boolean, words: string, prompt: string, warnings: string[], trouble: any, takes: Take[]}} State
 */
import { announce, make } from "./server.js";
import { badge, button, errorCard, hasFocus, matchList, setText } from "./panel.js";
import { TakeView } from "./studio_player.js";
import { timeTold } from "./studio_words.js";

const MOVING = new Set(["uploading", "sending", "running"]);
/** @type {Record<string, ["" | "good" | "warn" | "bad" | "info", string]>} */
const PHASES = {
  uploading: ["info", "uploading"],
  sending: ["info", "sending"],
  running: ["info", "running"],
  done: ["good", "ready"],
  failed: ["bad", "failed"],
  canceled: ["warn", "cancelled"],
  stuck: ["warn", "no word"],
  refused: ["bad", "not begun"],
};

/** One job. */
export class CardView {
  /**
   * @param {import("./studio_player.js").Sounds} sounds @param {Mirror} mirror @param {number} number
   * @param {() => void} leave called when the card is gone, and the focus needs another place
   */
  constructor(sounds, mirror, number, leave) {
    this.sounds = sounds;
    this.mirror = mirror;
    this.number = number;
    /** @type {Map<string, TakeView>} */
    this.takes = new Map();
    this.phase = "";
    this.began = Date.now();
    this.elapsed = -1;
    this.root = make("article", "bnp-card bnp-studio-job");
    const head = make("div", "bnp-row bnp-studio-head");
    this.title = make("span", "bnp-title bnp-studio-title", { dir: "auto" });
    this.status = badge("");
    this.cancel = button("Cancel", () => this.stop(), { kind: "danger" });
    head.append(this.title, this.status, this.cancel);
    this.prompt = make("div", "bnp-quiet bnp-studio-asked", { dir: "auto" });
    this.track = make("div", "bnp-track", { role: "progressbar", "aria-label": "Progress", "aria-valuemin": "0", "aria-valuemax": "100" });
    this.fill = make("div", "");
    this.track.append(this.fill);
    this.line = make("div", "bnp-row bnp-quiet bnp-figures");
    this.far = make("span", "");
    this.now = make("span", "bnp-studio-title", { dir: "auto" });
    this.time = make("span", "");
    this.line.append(this.far, this.now, this.time);
    this.words = make("div", "bnp-quiet");
    this.trouble = make("div", "");
    this.list = make("div", "bnp-studio-takes");
    this.warned = make("details", "bnp-quiet");
    this.warned.append(make("summary", "", {}, "Remarks of the service"), (this.warnings = make("div", "")));
    const foot = make("div", "bnp-row bnp-quiet bnp-studio-foot");
    this.facts = make("span", "bnp-row");
    const used = () => announce("The form has these settings.");
    this.use = button("Use these settings", () => void mirror.ask("use", { card: number }).then(used, () => {}), { kind: "quiet" });
    this.dismiss = button("Dismiss", () => void mirror.ask("dismiss", { card: number }).then(leave, () => {}), { kind: "quiet" });
    foot.append(this.facts, make("span", "bnp-space"), this.use, this.dismiss);
    this.root.append(head, this.prompt, this.track, this.line, this.words, this.trouble, this.list, this.warned, foot);
    this.known = "";
  }

  stop() {
    if (!this.state?.canceling) this.mirror.urge("cancel", { card: this.number }).catch(() => {});
  }

  again() {
    this.mirror.ask("again", { card: this.number }).then(() => this.cancel.focus(), () => {});
  }

  /** @param {State} state @param {{a: string, b: string}} marks */
  update(state, marks) {
    this.state = state;
    const moving = MOVING.has(state.phase);
    if (state.elapsed !== this.elapsed) {
      this.elapsed = state.elapsed;
      this.began = Date.now() - state.elapsed * 1000;
    }
    if (state.phase !== this.phase) this.changed(state);
    const [tone, word] = PHASES[state.phase] ?? ["", state.phase];
    this.root.setAttribute("aria-label", `${state.title}, ${word}`);
    setText(this.title, state.title);
    this.status.className = `bnp-badge${tone ? ` bnp-${tone}` : ""}`;
    setText(this.status, word);
    const held = hasFocus(this.cancel);
    this.cancel.hidden = !moving;
    if (held && !moving) this.use.focus(); // the focus is never lost
    this.cancel.setAttribute("aria-disabled", String(state.canceling));
    setText(this.cancel, state.canceling ? "Cancelling…" : "Cancel");
    this.cancel.setAttribute("aria-label", `${this.cancel.textContent} ${state.title}`);
    setText(this.prompt, state.prompt === state.title ? "" : state.prompt);
    this.track.hidden = this.line.hidden = !moving;
    this.dismiss.hidden = moving;
    this.dismiss.setAttribute("aria-label", `Dismiss ${state.title}`);
    const percent = typeof state.percent === "number" ? state.percent : null;
    this.track.classList.toggle("bnp-studio-unknown", percent === null);
    this.fill.style.width = `${percent ?? 0}%`;
    if (percent === null) this.track.removeAttribute("aria-valuenow");
    else this.track.setAttribute("aria-valuenow", String(Math.floor(percent)));
    setText(this.far, percent === null ? "" : `${Math.floor(percent)} %`);
    setText(this.now, state.note || [state.stage, state.message].filter(Boolean).join(" · "));
    setText(this.words, state.phase === "canceled" ? state.words : "");
    this.warned.hidden = !state.warnings.length || moving;
    this.tick();
    this.drawRarely(state);
    this.drawTakes(state.takes, marks);
  }

  /** Time is counted here. */
  tick() {
    if (this.line.hidden || !this.state) return;
    setText(this.time, timeTold((Date.now() - this.began) / 1000, this.state.expected));
  }

  /** @param {State} state */
  changed(state) {
    const before = this.phase;
    this.phase = state.phase;
    if (!before && MOVING.has(state.phase)) announce("The request is on its way.");
    else if (before && state.words) announce(state.words);
    else if (before && state.trouble) announce(state.trouble.title ?? "It did not work.");
  }

  /** What changes rarely is drawn anew only then: text in it can be selected. @param {State} state */
  drawRarely(state) {
    const known = JSON.stringify([state.facts, state.ids, state.sandbox, state.trouble, state.warnings]);
    if (known === this.known) return;
    this.known = known;
    this.facts.replaceChildren();
    if (state.sandbox) this.facts.append(badge("sandbox", "info"));
    for (const fact of state.facts) this.facts.append(make("span", "", { dir: "auto" }, fact));
    for (const [label, value] of state.ids) {
      const item = make("span", "");
      item.append(make("span", "", {}, `${label} `), make("code", "bnp-id", {}, value));
      this.facts.append(item);
    }
    this.trouble.replaceChildren();
    if (state.trouble) {
      this.trouble.append(errorCard(state.trouble, state.trouble.retry ? () => this.again() : undefined));
    }
    this.warnings.replaceChildren(...state.warnings.map((text) => make("div", "", { dir: "auto" }, text)));
  }

  /** @param {Take[]} takes @param {{a: string, b: string}} marks */
  drawTakes(takes, marks) {
    const key = (/** @type {Take} */ take) => take.id;
    const kept = new Set(takes.map(key));
    for (const [id, view] of this.takes) {
      if (kept.has(id)) continue;
      view.close();
      this.takes.delete(id);
    }
    matchList(this.list, takes, key, (take) => {
      const view = new TakeView(this.sounds, this.mirror, take);
      this.takes.set(take.id, view);
      return view.root;
    });
    for (const take of takes) this.takes.get(take.id)?.update(take, marks);
  }

  close() {
    for (const view of this.takes.values()) view.close();
  }
}

/** Two takes side by side: which one is heard, and what they differ in. */
export class CompareView {
  /** @param {Mirror} mirror @param {(id: string) => TakeView | undefined} find */
  constructor(mirror, find) {
    this.mirror = mirror;
    this.find = find;
    this.heard = "a";
    this.root = make("section", "bnp-card bnp-studio-compare", { "aria-label": "Comparison", hidden: "" });
    const head = make("div", "bnp-row");
    this.names = make("span", "bnp-studio-title", { dir: "auto" });
    this.press = button("", () => void this.switch(), { kind: "primary" });
    this.press.setAttribute("aria-keyshortcuts", "x");
    const end = button("End", () => void this.end(), { kind: "quiet", name: "End the comparison" });
    head.append(make("span", "bnp-title", {}, "A / B"), this.names, this.press, end);
    this.diff = make("div", "bnp-stack bnp-studio-diff");
    this.root.append(head, this.diff);
    this.known = "";
  }

  /** @param {any} tree */
  update({ marks, diff }) {
    const both = Boolean(marks.a && marks.b);
    this.marks = marks;
    this.root.hidden = !marks.a && !marks.b;
    const name = (/** @type {string} */ id) => (id ? `${this.find(id)?.take.title ?? ""}, take ${id}` : "mark one");
    setText(this.names, `A: ${name(marks.a)} · B: ${name(marks.b)}`);
    this.press.disabled = !both;
    this.say();
    const known = JSON.stringify([marks, diff]);
    if (known === this.known) return;
    this.known = known;
    this.diff.replaceChildren();
    if (!both || !diff) return;
    void this.find(marks.a)?.sound.load();
    void this.find(marks.b)?.sound.load();
    for (const [what, parts] of diff.texts) {
      const line = make("div", "bnp-studio-words", { dir: "auto" });
      line.append(make("span", "bnp-quiet", {}, `${what}: `));
      for (const [kind, text] of parts) line.append(make(kind === "less" ? "del" : kind === "more" ? "ins" : "span", "", {}, text));
      this.diff.append(line);
    }
    for (const text of diff.settings) this.diff.append(make("div", "", { dir: "auto" }, text));
    if (diff.sound) this.diff.append(make("div", "", { dir: "auto" }, diff.sound));
    if (!this.diff.children.length) this.diff.append(make("div", "bnp-quiet", {}, "Both were asked with the same words and settings."));
  }

  say() {
    setText(this.press, `Switch to ${this.heard === "a" ? "B" : "A"} (X)`);
  }

  /** Hear the other one, from the same place on. */
  async switch() {
    const { marks } = this;
    const [a, b] = [this.find(marks?.a)?.sound, this.find(marks?.b)?.sound];
    if (!a || !b || !(await a.load()) || !(await b.load())) return;
    await Promise.all([a.ready(), b.ready()]);
    if (!b.audio.paused) this.heard = "b";
    else if (!a.audio.paused) this.heard = "a";
    const [from, to] = this.heard === "a" ? [a, b] : [b, a];
    this.heard = this.heard === "a" ? "b" : "a";
    this.say();
    await to.start(Math.min(from.audio.currentTime, Math.max(0, (to.audio.duration || 0) - 0.05)));
  }

  async end() {
    for (const side of ["a", "b"]) {
      const take = this.marks?.[side];
      if (take) await this.mirror.ask("mark", { take, side }).catch(() => {});
    }
  }
}
