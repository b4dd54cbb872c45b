/**
 * The other two sides of a prompt builder: its versions, and the Python that sends the same.
 *
 * @typedef {{n: number, time: string, answers: number, failed: number, score: string, scored: number, credits: string,
 *   words: string, notes: string}} Version
 */
import { badge, button, copyText, errorCard, field, later, matchList, setText, setValue, textArea, touches } from "./panel.js";
import { announce, make } from "./server.js";

const PAUSE = 400; // milliseconds
const PATIENCE = 500; // milliseconds in which a front end that inserts cells has done so
const STEP = 25;

/** What a version came to, in words. @param {Version} version */
export function wordsOfVersion(version) {
  const words = [`${version.answers} ${version.answers === 1 ? "answer" : "answers"}`];
  if (version.failed) words.push(`${version.failed} failed`);
  if (version.score) words.push(`★ ${version.score} from ${version.scored} scored`);
  if (version.credits) words.push(`${version.credits} credits`);
  return words.join(" · ");
}

/** Which kind of line of a diff it is. @param {string} line @returns {"add" | "gone" | "place" | "same"} */
export function kindOfLine(line) {
  if (line.startsWith("@@")) return "place";
  return line.startsWith("+") ? "add" : line.startsWith("-") ? "gone" : "same";
}

export class History {
  /** @param {any} mirror */
  constructor(mirror) {
    this.mirror = mirror;
    this.node = make("div", "bnp-body bnp-stack");
    this.empty = make("div", "bnp-empty", {}, "Every prompt that you run is kept here, with its answers and your scores.");
    this.list = make("ol", "bnp-builder-versions");
    this.problem = make("div", "");
    this.node.append(this.empty, this.problem, this.list);
    /** @type {Map<number, HTMLElement>} */
    this.open = new Map();
  }

  /** @param {any} patches */
  show(patches) {
    if (touches(patches, "versions") || touches(patches, "version")) this.draw();
    const changed = ["fields", "examples", "version"].some((key) => touches(patches, key));
    if (changed) for (const [n, box] of this.open) this.diff(n, box);
  }

  draw() {
    /** @type {Version[]} */
    const versions = [...this.mirror.tree.versions].reverse();
    this.empty.hidden = versions.length > 0;
    matchList(this.list, versions, (each) => String(each.n), (each) => this.make(each), (node, each) => this.update(node, each));
  }

  /** @param {Version} version */
  make(version) {
    const { n } = version;
    const node = make("li", "bnp-builder-version");
    const head = make("div", "bnp-row");
    const box = make("pre", "bnp-builder-diff", { hidden: "", tabindex: "0", "aria-label": `Changes since version ${n}` });
    const changes = button("Changes", () => this.toggle(n, box, changes), { name: `Changes since version ${n}` });
    changes.setAttribute("aria-expanded", "false");
    const restore = button("Restore", () => this.restore(n), { name: `Restore version ${n}` });
    const now = badge("current", "info");
    head.append(make("span", "bnp-title", {}, `Version ${n}`), now, make("span", "bnp-quiet bnp-figures"), make("span", "bnp-space"), changes, restore);
    const notes = textArea("What was better, what was worse?", 1);
    notes.id = `bnp-builder-notes-${Math.random().toString(36).slice(2)}`;
    const save = later(() => this.mirror.ask("note", { version: n, text: notes.value }).catch(() => {}), PAUSE);
    notes.addEventListener("input", () => save());
    notes.addEventListener("blur", () => save.now());
    node.append(head, make("div", "bnp-quiet", { dir: "auto" }), field(`Notes on version ${n}`, notes), box);
    return node;
  }

  /** @param {HTMLElement} node @param {Version} version */
  update(node, version) {
    const current = version.n === this.mirror.tree.version;
    const [head, words] = /** @type {HTMLElement[]} */ ([...node.children]);
    const [, now, told, , changes, restore] = /** @type {any[]} */ ([...head.children]);
    now.hidden = !current;
    // A focused button that is disabled would drop the focus; these only say that there is nothing to do.
    for (const each of [changes, restore]) each.setAttribute("aria-disabled", String(current));
    setText(told, `${version.time} · ${wordsOfVersion(version)}`);
    setText(words, version.words);
    const notes = node.querySelector("textarea");
    if (notes) setValue(notes, version.notes);
  }

  /** @param {number} n @param {HTMLElement} box @param {HTMLElement} toggle */
  toggle(n, box, toggle) {
    box.hidden = !box.hidden;
    toggle.setAttribute("aria-expanded", String(!box.hidden));
    if (box.hidden) this.open.delete(n);
    else {
      this.open.set(n, box);
      this.diff(n, box);
    }
  }

  /** @param {number} n @param {HTMLElement} box */
  async diff(n, box) {
    try {
      const text = await this.mirror.ask("diff", { version: n });
      // The first two lines name the files; there are none.
      const lines = text.split("\n").slice(2, -1);
      const nodes = lines.map((/** @type {string} */ line) => make("div", `bnp-builder-${kindOfLine(line)}`, { dir: "auto" }, line));
      box.replaceChildren(...(nodes.length ? nodes : ["Nothing has changed since."]));
    } catch (error) {
      this.fail(error);
    }
  }

  /** @param {number} n */
  async restore(n) {
    if (n === this.mirror.tree.version) return;
    try {
      await this.mirror.ask("restore", { version: n });
      this.problem.replaceChildren();
      announce(`Version ${n} is back.`);
    } catch (error) {
      this.fail(error);
    }
  }

  /** @param {any} error */
  fail(error) {
    this.problem.replaceChildren(errorCard(error.trouble ?? { message: String(error) }));
  }
}

export class Code {
  /** @param {any} mirror @param {() => void} flush */
  constructor(mirror, flush) {
    this.mirror = mirror;
    this.flush = flush;
    this.text = "";
    this.shown = false;
    this.node = make("div", "bnp-body bnp-stack");
    this.code = make("pre", "bnp-builder-code", { tabindex: "0", "aria-label": "Python that sends the same" });
    this.problem = make("div", "");
    this.insert = button("Insert cell below", () => this.put(), { kind: "primary" });
    this.copy = button("Copy", () => copyText(this.copy, this.text));
    this.said = make("span", "bnp-quiet", { role: "status" });
    const row = make("div", "bnp-row");
    row.append(this.insert, this.copy, this.said);
    const hint = "Run in any kernel, it sends byte for byte what is sent here. builder.save(\"prompt.json\") keeps prompt and rows as a file.";
    this.node.append(this.problem, this.code, row, make("div", "bnp-hint", {}, hint));
    this.soon = later(() => this.fetch(), PAUSE);
  }

  /** @param {any} patches */
  show(patches) {
    if (this.shown && ["fields", "examples", "rows"].some((key) => touches(patches, key))) this.soon();
  }

  /** @param {boolean} shown */
  open(shown) {
    this.shown = shown;
    if (shown) {
      this.flush();
      this.fetch();
    }
  }

  async fetch() {
    try {
      this.text = await this.mirror.ask("code");
      this.problem.replaceChildren();
    } catch (error) {
      this.text = "";
      this.problem.replaceChildren(errorCard(/** @type {any} */ (error).trouble ?? { message: String(error) }));
    }
    setText(this.code, this.text);
    this.code.hidden = !this.text;
    this.insert.disabled = this.copy.disabled = !this.text;
  }

  /** Put the code into a new cell below, where the front end does that; else copy it. */
  async put() {
    const own = this.node.closest(".jp-Cell");
    const active = () => document.querySelector(".jp-Notebook .jp-Cell.jp-mod-active");
    this.insert.focus(); // makes the cell of the widget the active one
    if (own && active() === own) {
      press(this.node, "notebook:insert-cell-below", {});
      // In a notebook that is not trusted, JupyterLab asks first.
      for (let waited = 0; active() === own && (waited < PATIENCE || document.querySelector(".jp-Dialog")); waited += STEP)
        await new Promise((resolve) => setTimeout(resolve, STEP));
      if (active() && active() !== own) {
        press(this.node, "notebook:replace-selection", { text: this.text.trimEnd() });
        setText(this.said, "It is in the cell below.");
        return;
      }
    }
    await copyText(this.copy, this.text);
    setText(this.said, "Cells cannot be inserted from here, so the code was copied: paste it into a new cell.");
  }
}

/** Have JupyterLab run one of its commands: it watches for clicks on elements that name one. @param {HTMLElement} near @param {string} command @param {object} args */
function press(near, command, args) {
  const link = make("button", "", { type: "button", hidden: "" });
  link.dataset.commandlinkerCommand = command;
  link.dataset.commandlinkerArgs = JSON.stringify(args);
  near.append(link);
  link.click();
  link.remove();
}
