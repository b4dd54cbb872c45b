/**
 * A hand that writes: text that comes a few times a second is let out a little at a time, so that it reads steadily.
 *
 * Several pens share a page: each may take its part of the time for drawing, whatever the length of its text.
 */
import { GrowingMarkdown } from "./live_markdown.js";

const LAG = 170; // milliseconds by which what is seen follows what has come
const FRAME = 33; // at most thirty drawings a second
const SHARE = 8; // how many times as long as a drawing took a pen rests

/** Writes one growing text into one element. */
export class Pen {
  /** @param {HTMLElement} paper @param {() => void} [drawn] called after each drawing */
  constructor(paper, drawn = () => {}) {
    this.paper = paper;
    this.drawn = drawn;
    this.text = ""; // what has come
    this.seen = 0; // how much of it is drawn
    this.open = false;
    this.frame = 0;
    this.last = 0;
    this.rest = FRAME;
    this.markdown = new GrowingMarkdown(paper);
  }

  /** Begin anew on empty paper. */
  clear() {
    this.lift();
    this.text = "";
    this.seen = 0;
    this.rest = FRAME;
    this.paper.replaceChildren();
    this.markdown = new GrowingMarkdown(this.paper);
  }

  /** Write a text, which may go on from what is there; `open` while more is to come. @param {string} text @param {boolean} open */
  write(text, open) {
    if (!text.startsWith(this.text.slice(0, this.seen))) this.clear();
    const changed = text !== this.text || open !== this.open;
    this.text = text;
    this.open = open;
    this.paper.classList.toggle("bnp-writing", open);
    if (!changed) return;
    const steps = open && !document.hidden && !matchMedia("(prefers-reduced-motion: reduce)").matches;
    if (!steps) this.draw(text.length);
    else if (!this.frame && this.seen < text.length) {
      this.last = performance.now();
      this.frame = requestAnimationFrame((now) => this.step(now));
    }
  }

  /** @param {number} now */
  step(now) {
    const passed = now - this.last;
    if (passed >= this.rest) {
      const ahead = this.text.length - this.seen;
      let upTo = this.seen + Math.max(1, Math.ceil((ahead * passed) / LAG));
      for (let k = 0; k < 12 && upTo < this.text.length && !/\s/.test(this.text[upTo]); k++) upTo++; // whole words
      this.last = now;
      this.draw(Math.min(upTo, this.text.length));
    }
    const more = this.open && this.seen < this.text.length;
    this.frame = more ? requestAnimationFrame((next) => this.step(next)) : 0;
  }

  /** @param {number} upTo */
  draw(upTo) {
    const before = performance.now();
    this.seen = upTo;
    this.markdown.draw(this.text.slice(0, upTo), this.open);
    this.rest = Math.max(FRAME, (performance.now() - before) * SHARE);
    this.drawn();
  }

  /** Stop. */
  lift() {
    if (this.frame) cancelAnimationFrame(this.frame);
    this.frame = 0;
  }
}
