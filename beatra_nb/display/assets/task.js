/**
 * The page's half of a job that is under way (the kernel's half: task_widget.py).
 *
 * What has changed comes as custom messages, a few a second. They are listened to in `initialize`, before anything is
 * drawn: a view that is made later, or made again, starts with everything known so far. Time is counted here.
 *
 * @typedef {{
 *   get(name: string): any,
 *   on(event: string, callback: (message: any) => void): void,
 *   send(content: unknown): void,
 * }} Model
 * @typedef {{
 *   title?: string, says?: string, sandbox?: boolean, recorded?: string, stage?: string, message?: string, percent?: number | null,
 *   elapsed?: number, expected?: number | null, attached?: boolean, note?: string, facts?: string[],
 *   ids?: [string, string][],
 * }} State
 */
import { announce, clock, isReachable, keepHeight, make, tellKernel } from "./server.js";

const PATIENCE = 20000; // milliseconds after which a cancel that does nothing gets a word of advice

/** What is known of one job, and the views that show it. */
export class Job {
  /** @param {Model} model */
  constructor(model) {
    this.model = model;
    this.kernel = String(model.get("kernel_id") ?? "");
    this.token = String(model.get("token") ?? "");
    this.byHand = String(model.get("by_hand") ?? "");
    /** @type {State} */
    this.state = {};
    this.began = Date.now();
    this.over = false;
    /** @type {"" | "asked" | "failed"} */
    this.cancelling = "";
    /** @type {Set<{draw(): void, end(): void}>} */
    this.views = new Set();
    this.take(model.get("state") ?? {});
    model.on("msg:custom", (message) => this.hear(message));
    announce(this.state.says || "The work has begun.");
  }

  /** @param {State} news */
  take(news) {
    Object.assign(this.state, news);
    if (typeof news.elapsed === "number") this.began = Date.now() - news.elapsed * 1000;
  }

  /** @param {{state?: State, end?: string}} message */
  hear(message) {
    if (message?.state) this.take(message.state);
    if (message?.end) {
      this.over = true;
      announce(message.end);
      for (const view of this.views) view.end();
    }
    this.draw();
  }

  canCancel() {
    return this.token !== "" && isReachable(this.kernel);
  }

  /** Ask the kernel to cancel: by its control channel, which it hears while a cell waits, and by its widget's way. */
  async cancel() {
    if (this.over || this.cancelling === "asked" || !this.canCancel()) return;
    this.cancelling = "asked";
    this.draw();
    const failed = () => {
      if (this.over) return;
      this.cancelling = "failed";
      this.draw();
    };
    setTimeout(failed, PATIENCE);
    this.model.send({ cancel: true });
    await tellKernel(this.kernel, "beatra_cancel_request", { token: this.token }).catch(failed);
  }

  draw() {
    for (const view of this.views) view.draw();
  }
}

/**
 * What the card says in words about a job at a moment.
 * @param {State} state @param {number} seconds that it has taken so far
 * @param {{cancelling?: string, canCancel?: boolean, byHand?: string}} [more]
 */
export function wordsOf(state, seconds, { cancelling = "", canCancel = true, byHand = "" } = {}) {
  const stage = [state.stage, state.message].filter(Boolean).join(" · ");
  const percent = typeof state.percent === "number" ? `${Math.floor(state.percent)} %` : "";
  let now = state.note || stage || "waiting";
  if (cancelling === "asked") now = ["cancelling…", state.note].filter(Boolean).join(" · ");
  if (cancelling === "failed") now = `It is not cancelled yet: ${byHand.replace(/^to cancel, /, "")}`;
  let time = clock(seconds);
  if (state.expected) {
    const about = clock(state.expected);
    time += seconds > state.expected * 1.1 ? ` · longer than usual (about ${about})` : ` of about ${about}`;
  }
  const hint = canCancel || cancelling === "failed" ? "" : byHand;
  return { now, percent, time, hint };
}

/** One picture of a job; there may be several. */
class View {
  /** @param {Job} job @param {HTMLElement} el */
  constructor(job, el) {
    this.job = job;
    this.root = make("div", "bnt jp-RenderedHTMLCommon");
    const card = make("div", "bnt-card", { role: "group", "aria-label": "Work under way", "aria-busy": "true" });
    const paper = make("div", "bnt-paper");
    const head = make("div", "bnt-head");
    this.title = make("span", "bnt-title", { dir: "auto" });
    head.append(this.title);
    if (job.canCancel()) {
      this.button = make("button", "bnt-cancel", { type: "button" }, "Cancel");
      this.button.addEventListener("click", () => job.cancel());
      head.append(this.button);
    }
    this.bar = make("div", "bnt-bar", { role: "progressbar", "aria-label": "Progress", "aria-valuemin": "0", "aria-valuemax": "100" });
    this.fill = make("div", "bnt-fill");
    this.bar.append(this.fill);
    const line = make("div", "bnt-line");
    this.percent = make("span", "bnt-percent");
    this.now = make("span", "bnt-now", { dir: "auto" });
    this.time = make("span", "bnt-time");
    line.append(this.percent, this.now, this.time);
    paper.append(head, this.bar, line);
    this.foot = make("div", "bnt-foot");
    card.append(paper, this.foot);
    this.root.append(card);
    el.append(this.root);
    this.known = "";
    this.ticking = setInterval(() => this.draw(), 500);
    this.draw();
  }

  draw() {
    const { job } = this;
    const { state } = job;
    const { cancelling, byHand } = job;
    const seconds = (Date.now() - job.began) / 1000;
    const words = wordsOf(state, seconds, { cancelling, canCancel: Boolean(this.button), byHand });
    say(this.title, state.title || "Work");
    say(this.now, words.now);
    say(this.percent, words.percent);
    say(this.time, words.time);
    const known = typeof state.percent === "number";
    this.bar.classList.toggle("bnt-unknown", !known && !job.over);
    this.fill.style.width = `${known ? Math.min(100, Math.max(0, Number(state.percent))) : 0}%`;
    if (known) this.bar.setAttribute("aria-valuenow", String(Math.floor(Number(state.percent))));
    else this.bar.removeAttribute("aria-valuenow");
    if (this.button) {
      this.button.disabled = job.over || cancelling === "asked";
      say(this.button, cancelling === "asked" ? "Cancelling…" : "Cancel");
    }
    this.drawFoot(words.hint);
  }

  /** What changes rarely is drawn anew only when it has changed: text in it can be selected. @param {string} hint */
  drawFoot(hint) {
    const { sandbox, recorded, attached, facts = [], ids = [] } = this.job.state;
    const known = JSON.stringify([sandbox, recorded, attached, facts, ids, hint]);
    if (known === this.known) return;
    this.known = known;
    this.foot.replaceChildren();
    if (sandbox) this.foot.append(make("span", "bnt-badge", {}, "sandbox"));
    if (recorded) this.foot.append(make("span", "bnt-badge", {}, recorded));
    if (attached) this.foot.append(make("span", "bnt-badge", {}, "job already started"));
    for (const fact of facts) this.foot.append(make("span", "bnt-fact", {}, String(fact)));
    for (const [label, value] of ids) {
      const item = make("span", "bnt-fact");
      item.append(make("span", "bnt-label", {}, `${label} `), make("code", "bnt-id", {}, String(value)));
      this.foot.append(item);
    }
    if (hint) this.foot.append(make("span", "bnt-fact", {}, hint));
  }

  end() {
    keepHeight(this.root);
  }

  close() {
    clearInterval(this.ticking);
    this.root.remove();
  }
}

/** @param {HTMLElement} node @param {string} text */
function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export default () => {
  /** @type {Job} */
  let job;
  return {
    /** @param {{model: Model}} context */
    initialize({ model }) {
      job = new Job(model);
    },
    /** @param {{el: HTMLElement}} context */
    render({ el }) {
      const view = new View(job, el);
      job.views.add(view);
      return () => {
        job.views.delete(view);
        view.close();
      };
    },
  };
};
