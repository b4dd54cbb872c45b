/**
 * Words of a music studio's form, and times: pure, without a page.
 */
import { clock } from "./server.js";

/** The parts of a prompt between its commas. @param {string} prompt */
function partsOf(prompt) {
  return prompt.split(",").map((part) => part.trim()).filter(Boolean);
}

/** Whether a prompt names something, as a part of its own between commas. @param {string} prompt @param {string} words */
export function hasWords(prompt, words) {
  return partsOf(prompt).some((part) => part.toLowerCase() === words.toLowerCase());
}

/** Add words to a prompt, or take them out where they are. @param {string} prompt @param {string} words */
export function toggleWords(prompt, words) {
  if (hasWords(prompt, words)) {
    return partsOf(prompt).filter((part) => part.toLowerCase() !== words.toLowerCase()).join(", ");
  }
  const before = prompt.replace(/[\s,]+$/, "");
  return before ? `${before}, ${words}` : words;
}

/**
 * Where a section's tag goes in lyrics, and what is put there: on a line of its own, the caret on the next one.
 * @param {string} lyrics @param {number} at the caret @param {string} section
 */
export function sectionAt(lyrics, at, section) {
  const before = lyrics.slice(0, at);
  const lead = !before ? "" : before.endsWith("\n\n") ? "" : before.endsWith("\n") ? "\n" : "\n\n";
  return `${lead}[${section}]\n`;
}

/** How long a job has taken, in words. @param {number} seconds @param {number | null | undefined} expected */
export function timeTold(seconds, expected) {
  if (!expected) return clock(seconds);
  const about = clock(expected);
  return seconds > expected * 1.1 ? `${clock(seconds)} · longer than usual (about ${about})` : `${clock(seconds)} of about ${about}`;
}

/** The names of the two sides of a comparison. @param {string} take @param {{a: string, b: string}} marks */
export function sideOf(take, marks) {
  return take === marks.a ? "A" : take === marks.b ? "B" : "";
}
