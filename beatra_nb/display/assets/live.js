/**
 * The page's half of a live answer (the kernel's half: live_widget.py).
 *
 * Deltas come as custom messages. They are listened to in `initialize`, before anything is drawn: a view that is
 * made later, or made again, starts with everything said so far. The text is let out a little at a time between
 * two messages, so that eight messages a second read as a steady hand.
 *
 * @typedef {{get(name: string): any, on(event: string, callback: (message: any) => void): void}} Model
 */
import { GrowingMarkdown } from "./live_markdown.js";
import { announce, BY_HAND, interrupt, isReachable, keepHeight, make } from "./server.js";

const LAG = 170; // milliseconds by which what is seen follows what has come
const FRAME = 33; // at most thirty drawings a second
const PATIENCE = 5000; // milliseconds after which a stop that does nothing gets a word of advice

/** What has come of one answer, and the views that show it. */
class Answer {
  /** @param {Model} model */
  constructor(model) {
    /** @type {string[]} */
    this.marks = model.get("sandbox") ? ["sandbox"] : [];
    this.kernel = String(model.get("kernel_id") ?? "");
    this.text = "";
    this.deltas = 0;
    this.began = Date.now();
    this.over = false;
    /** @type {"" | "asked" | "failed"} */
    this.stopping = "";
    /** @type {Set<View>} */
    this.views = new Set();
    model.on("msg:custom", (message) => this.hear(message));
    announce("An answer is being written.");
  }

  /** @param {{marks?: string[], text?: string, deltas?: number, end?: string}} message */
  hear(message) {
    if (Array.isArray(message?.marks)) this.marks = message.marks.map(String);
    if (typeof message?.text === "string") {
      this.text += message.text;
      this.deltas = Number(message.deltas) || this.deltas + 1;
    }
    if (message?.end) {
      this.over = true;
      announce(message.end === "complete" ? "The answer is complete." : "The answer was cut short.");
    }
    for (const view of this.views) view.wake();
  }

  canStop() {
    return isReachable(this.kernel);
  }

  async stop() {
    if (this.over || this.stopping === "asked" || !this.canStop()) return;
    this.stopping = "asked";
    this.refresh();
    const failed = () => {
      this.stopping = "failed";
      this.refresh();
    };
    setTimeout(() => this.over || failed(), PATIENCE);
    await interrupt(this.kernel).catch(failed);
  }

  refresh() {
    for (const view of this.views) view.drawStatus();
  }
}

/** One picture of an answer; there may be several. */
class View {
  /** @param {Answer} answer @param {HTMLElement} el */
  constructor(answer, el) {
    this.answer = answer;
    this.seen = 0; // how much of the text is drawn
    this.frame = 0;
    this.last = 0;
    this.rest = FRAME;

    // The notebook's own class for rendered text: live and finished answers share its fonts and spaces.
    this.root = make("div", "bnl jp-RenderedHTMLCommon");
    const label = { role: "group", "aria-label": "Answer being written", "aria-busy": "true", tabindex: "-1" };
    const card = make("div", "bnl-card", label);
    const paper = make("div", "bnl-paper");
    this.body = make("div", "bnl-body", { "aria-live": "off" });
    this.status = make("div", "bnl-status");
    this.words = make("span", "bnl-words");
    /** @type {string[]} */
    this.marks = [];
    this.badges = make("span", "bnl-badges");
    this.status.append(this.badges, this.words);
    if (answer.canStop()) {
      this.button = make("button", "bnl-stop", { type: "button", title: "Stop the answer (Esc)" }, "Stop");
      this.button.addEventListener("click", () => answer.stop());
      paper.append(this.button);
    }
    paper.append(this.body);
    card.append(paper, this.status);
    this.root.append(card);
    card.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => this.key(event));
    el.append(this.root);

    this.markdown = new GrowingMarkdown(this.body);
    this.clock = setInterval(() => this.drawStatus(), 250);
    this.drawStatus();
    this.wake();
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    if (event.key !== "Escape") return;
    event.preventDefault();
    event.stopPropagation(); // the notebook has uses of its own for Esc
    this.answer.stop();
  }

  /** Something new is there: draw it, step by step where somebody can see the steps. */
  wake() {
    this.drawStatus();
    if (this.answer.over) keepHeight(this.root);
    if (document.hidden || matchMedia("(prefers-reduced-motion: reduce)").matches) {
      this.draw(this.answer.text.length);
    } else if (!this.frame && this.seen < this.answer.text.length) {
      this.last = performance.now();
      this.frame = requestAnimationFrame((now) => this.step(now));
    }
  }

  /** @param {number} now */
  step(now) {
    const passed = now - this.last;
    if (passed >= this.rest) {
      const { text } = this.answer;
      const ahead = text.length - this.seen;
      let upTo = this.seen + Math.max(1, Math.ceil((ahead * passed) / LAG));
      for (let k = 0; k < 12 && upTo < text.length && !/\s/.test(text[upTo]); k++) upTo++; // whole words
      this.last = now;
      this.draw(Math.min(upTo, text.length));
    }
    const more = this.seen < this.answer.text.length;
    this.frame = more ? requestAnimationFrame((next) => this.step(next)) : 0;
  }

  /** @param {number} upTo */
  draw(upTo) {
    if (upTo <= this.seen) return;
    const before = performance.now();
    this.seen = upTo;
    this.markdown.draw(this.answer.text.slice(0, upTo));
    // A drawing may take at most a quarter of the time: a page stays a page under any text.
    this.rest = Math.max(FRAME, (performance.now() - before) * 4);
  }

  drawStatus() {
    const { answer } = this;
    const seconds = Math.floor((Date.now() - answer.began) / 1000);
    const parts = [answer.deltas ? "writing" : "waiting for the first words"];
    if (answer.stopping === "asked") parts[0] = "stopping…";
    if (answer.deltas) parts.push(`≈ ${answer.deltas.toLocaleString("en")} tokens`);
    if (seconds) parts.push(`${seconds} s`);
    if (answer.stopping === "failed") parts[0] = `It has not stopped yet: ${BY_HAND}`;
    else if (!this.button) parts.push(`to stop, ${BY_HAND}`);
    const words = parts.join(" · ");
    if (this.words.textContent !== words) this.words.textContent = words;
    if (this.marks !== answer.marks) {
      this.marks = answer.marks;
      this.badges.replaceChildren(...this.marks.map((mark) => make("span", "bnl-badge", {}, mark)));
    }
    this.body.classList.toggle("bnl-waiting", answer.deltas === 0);
    if (this.button) this.button.disabled = answer.over || answer.stopping === "asked";
  }

  close() {
    clearInterval(this.clock);
    cancelAnimationFrame(this.frame);
    this.root.remove();
  }
}

export default () => {
  /** @type {Answer} */
  let answer;
  return {
    /** @param {{model: Model}} context */
    initialize({ model }) {
      answer = new Answer(model);
    },
    /** @param {{el: HTMLElement}} context */
    render({ el }) {
      const view = new View(answer, el);
      answer.views.add(view);
      return () => {
        answer.views.delete(view);
        view.close();
      };
    },
  };
};
