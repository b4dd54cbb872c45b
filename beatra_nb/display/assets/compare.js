/**
 * The page's half of bn.Compare (the kernel's half: interact/compare.py): one prompt, and a lane for each answer.
 *
 * While a round is hidden the document names nobody, and this file keeps nothing of what it was told before.
 *
 * @typedef {import("./panel.js").Mirror} Mirror
 * @typedef {import("./panel.js").Patch} Patch
 * @typedef {import("./panel.js").Trouble} Trouble
 * @typedef {{key: string, letter: string, label: string, name: string, model: string, temperature: number | null,
 *   extra: string, state: "" | "waiting" | "writing" | "done" | "stopped" | "failed", text: string, votes: number,
 *   note: string, facts: string[], answered: string, request_id: string, error: Trouble | null}} Lane
 */
import { Pen } from "./pen.js";
import { announce, make } from "./server.js";
import { badge, button, copyText, errorCard, field, fillSelect, focusIn, input, later, matchList, panel, PanelView, requestId, select, setText, setValue, textArea } from "./panel.js";

const PAUSE = 500; // milliseconds without a key until the kernel is told what was written
const STATES = { "": "", waiting: "Waiting for the first words …", writing: "Writing …", done: "", stopped: "", failed: "" };

/** Show or hide; returns whether the focus is lost by that. @param {HTMLElement} node @param {boolean} shown */
function show(node, shown) {
  const focused = shown ? null : focusIn(node);
  node.hidden = !shown;
  return focused !== null && node.contains(focused);
}

/** One lane. */
class LaneView {
  /** @param {CompareView} view @param {Lane} lane */
  constructor(view, lane) {
    this.view = view;
    this.key = lane.key;
    this.root = make("section", "bnp-compare-lane");
    this.letter = make("span", "bnp-compare-letter", { "aria-hidden": "true" });
    this.title = make("span", "bnp-title bnp-compare-name", { dir: "auto" });
    this.tally = badge("", "info");
    this.label = input("text", { "aria-label": "Label", maxlength: "60", dir: "auto" });
    this.label.classList.add("bnp-compare-label");
    this.model = select({ "aria-label": "Model" });
    this.temperature = input("number", { min: "0", max: "2", step: "0.1", placeholder: "default", title: "Temperature" });
    this.temperature.setAttribute("aria-label", "Temperature");
    this.removal = button("×", () => view.ask("remove", { lane: this.key }), { kind: "quiet", title: "Remove this lane" });
    for (const node of [this.label, this.model, this.temperature]) node.addEventListener("change", () => this.change());
    this.named = make("div", "bnp-row bnp-compare-head");
    this.named.append(this.letter, this.title, make("span", "bnp-space"), this.tally);
    this.settings = make("div", "bnp-compare-settings");
    const choices = make("div", "bnp-compare-choices");
    choices.append(this.model, this.temperature);
    const first = make("div", "bnp-compare-choices");
    first.append(this.label, this.removal);
    this.settings.append(first, choices);
    this.extra = make("div", "bnp-quiet bnp-compare-extra", { dir: "auto" });

    this.box = make("div", "bnp-compare-box", { role: "log", "aria-live": "off", tabindex: "0" });
    this.paper = make("div", "bnp-prose", { dir: "auto" });
    this.trouble = make("div", "");
    this.note = make("div", "bnp-note", { hidden: "" });
    this.box.append(this.paper, this.note, this.trouble);
    this.follow = true;
    this.box.addEventListener("scroll", () => {
      this.follow = this.box.scrollHeight - this.box.scrollTop - this.box.clientHeight < 40;
    });
    this.pen = new Pen(this.paper, () => {
      if (this.follow) this.box.scrollTop = this.box.scrollHeight;
    });

    this.state = make("span", "bnp-quiet");
    this.facts = make("div", "bnp-row bnp-quiet bnp-figures bnp-compare-facts");
    this.who = make("div", "bnp-compare-who");
    this.stop = button("Stop", () => view.urge("stop", { lane: this.key }), { kind: "quiet" });
    this.copy = button("Copy", () => copyText(this.copy, this.lane.text), { kind: "quiet" });
    this.again = button("Try again", () => view.ask("retry", { lane: this.key }), { kind: "quiet" });
    this.vote = button("Vote", () => view.ask("vote", { lane: this.key }), { kind: "primary" });
    const actions = make("div", "bnp-row bnp-compare-actions");
    actions.append(this.state, make("span", "bnp-space"), this.stop, this.again, this.copy, this.vote);
    const foot = make("div", "bnp-compare-foot");
    foot.append(this.facts, this.who, actions);
    this.root.append(this.named, this.settings, this.extra, this.box, foot);
    this.lane = lane;
    this.lost = false; // whether the focus was on something that has gone
    /** @type {string} */
    this.failure = "";
  }

  change() {
    const given = this.temperature.value.trim();
    // What is no number has no value, and says so.
    if (!this.temperature.validity.valid && !given) return this.temperature.reportValidity();
    return this.view.ask("lane", {
      lane: this.key,
      label: this.label.value,
      model: this.model.value,
      temperature: given === "" ? null : Number(given),
    });
  }

  /** Only the text has grown. @param {Lane} lane */
  write(lane) {
    this.lane = lane;
    this.pen.write(lane.text, lane.state === "waiting" || lane.state === "writing");
  }

  /** @param {Lane} lane @param {any} tree @param {number} at */
  draw(lane, tree, at) {
    const open = lane.state === "waiting" || lane.state === "writing";
    const name = lane.letter ? `${lane.letter}${lane.label ? `: ${lane.label}` : ""}` : lane.label;
    if (lane.state === "waiting" && this.lane.state !== "waiting") this.follow = true;
    this.write(lane);
    this.root.setAttribute("aria-label", `Lane ${name}`);
    this.root.setAttribute("role", "group");
    this.box.setAttribute("aria-label", `Answer of ${name}`);
    this.box.setAttribute("aria-busy", String(open));
    setText(this.letter, lane.letter);
    this.letter.hidden = !lane.letter;
    this.named.hidden = !tree.blind && lane.votes === 0;
    setText(this.title, tree.blind ? lane.label || `Answer ${lane.letter}` : "");
    const votes = lane.votes === 1 ? "1 vote" : `${lane.votes} votes`;
    setText(this.tally, votes);
    this.tally.hidden = lane.votes === 0;
    const away = [show(this.settings, !tree.blind)];
    this.drawSettings(lane, tree);
    setText(this.extra, lane.extra);
    this.extra.hidden = !lane.extra;

    setText(this.note, lane.note);
    this.note.hidden = !lane.note || lane.error !== null;
    const failure = JSON.stringify(lane.error);
    if (failure !== this.failure) {
      this.failure = failure;
      this.trouble.replaceChildren(...(lane.error ? [errorCard(lane.error)] : []));
    }
    this.root.classList.toggle("bnp-compare-room", lane.state !== "" && !tree.hidden);
    setText(this.state, STATES[lane.state]);
    matchList(this.facts, lane.facts, (text, i) => `${i} ${text}`, (text) => make("span", "", {}, text));
    const who = `${lane.answered} ${lane.request_id}`.trim();
    if (this.who.dataset.who !== who) {
      this.who.dataset.who = who;
      this.who.replaceChildren();
      if (lane.answered) this.who.append(make("div", "bnp-quiet", {}, lane.answered));
      if (lane.request_id) this.who.append(requestId(lane.request_id));
    }
    away.push(
      show(this.stop, open),
      show(this.again, lane.state === "failed" || lane.state === "stopped"),
      show(this.copy, !open && lane.text !== ""),
      show(this.vote, tree.hidden && !tree.running && lane.state !== "" && lane.text !== ""),
    );
    this.lost = away.includes(true);
    setText(this.vote, `Vote ${lane.letter}`);
    this.vote.setAttribute("aria-keyshortcuts", String(at + 1));
    this.vote.title = `Vote for ${lane.letter} (key ${at + 1})`;
    this.stop.setAttribute("aria-label", `Stop ${name}`);
    this.again.setAttribute("aria-label", `Try again: ${name}`);
    this.copy.setAttribute("aria-label", `Copy: answer of ${name}`);
  }

  /** @param {Lane} lane @param {any} tree */
  drawSettings(lane, tree) {
    if (tree.blind) {
      for (const node of [this.label, this.temperature]) node.value = "";
      this.label.placeholder = "";
      delete this.model.dataset.known;
      this.model.replaceChildren();
      return;
    }
    setValue(this.label, lane.name);
    this.label.placeholder = lane.label;
    const models = tree.models.includes(lane.model) ? tree.models : [lane.model, ...tree.models];
    fillSelect(this.model, models.map((/** @type {string} */ value) => ({ value })), lane.model);
    setValue(this.temperature, lane.temperature === null ? "" : String(lane.temperature));
    for (const node of [this.label, this.model, this.temperature]) node.disabled = tree.running;
    this.removal.disabled = tree.running || tree.lanes.length < 2;
    this.removal.setAttribute("aria-label", `Remove ${lane.label}`);
  }
}

class CompareView extends PanelView {
  /** @param {Mirror} mirror @param {HTMLElement} el */
  constructor(mirror, el) {
    super(mirror, el, "bnp-compare", "Compare");
    /** @type {Map<string, LaneView>} */
    this.lanes = new Map();
    this.ran = false;

    const card = make("div", "bnp-card");
    const bar = make("div", "bnp-bar");
    this.sandbox = badge("sandbox", "info");
    this.round = make("span", "bnp-quiet bnp-figures");
    this.blind = input("checkbox");
    this.blind.addEventListener("change", () => this.ask("blind", { on: this.blind.checked }));
    const blind = make("label", "bnp-row bnp-compare-blind");
    blind.append(this.blind, make("span", "", {}, "Blind"));
    blind.title = "Shuffle the lanes and hide who is who until you reveal it";
    bar.append(make("span", "bnp-title", {}, "Compare"), this.sandbox, this.round, make("span", "bnp-space"), blind);

    const body = make("div", "bnp-body bnp-stack");
    this.prompt = textArea("Ask all of them the same …", 2);
    this.system = textArea("How all of them shall answer", 1);
    const edited = later(() => this.ask("edit", { prompt: this.prompt.value, system: this.system.value }), PAUSE);
    this.edited = edited;
    for (const node of [this.prompt, this.system]) node.addEventListener("input", edited);
    const more = make("details", "bnp-compare-system");
    more.append(make("summary", "bnp-quiet", {}, "System text"), this.system);
    this.system.setAttribute("aria-label", "System text");
    this.more = more;
    this.run = button("Run", () => this.start(), { kind: "primary", title: "Ask all lanes (Ctrl+Enter)" });
    this.halt = button("Stop", () => this.tree.running && this.urge("stop"), { title: "Stop all answers (Esc)" });
    this.add = button("Add lane", () => this.ask("add"));
    this.reveal = button("Reveal", () => this.ask("reveal"));
    const row = make("div", "bnp-row");
    row.append(this.run, this.halt, this.add, this.reveal, make("span", "bnp-quiet", {}, "Ctrl+Enter runs, Esc stops"));
    this.problem = make("div", "bnp-compare-problem");
    body.append(field("Prompt", this.prompt), more, row, this.problem);
    this.grid = make("div", "bnp-compare-lanes");
    this.score = make("div", "bnp-bar bnp-compare-score", { hidden: "" });
    card.append(bar, body, this.grid, this.score);
    this.root.append(card);
    this.root.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => this.key(event));
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const { hidden, running, lanes } = this.tree;
    const writing = event.target instanceof HTMLElement && event.target.matches("input:not([type=checkbox]), textarea, select");
    const lane = /^[1-9]$/.test(event.key) ? lanes[Number(event.key) - 1] : undefined;
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) this.start();
    else if (event.key === "Escape" && running) this.urge("stop");
    else if (lane && !writing && hidden && !running && lane.text && !event.ctrlKey && !event.metaKey && !event.altKey) {
      this.ask("vote", { lane: lane.key });
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }

  start() {
    if (this.tree.running) return;
    this.ask("run", { prompt: this.prompt.value, system: this.system.value });
  }

  /** @param {string} name @param {Record<string, unknown>} [args] */
  ask(name, args = {}) {
    this.settle(this.mirror.ask(name, args), name === "edit");
  }

  /** @param {string} name @param {Record<string, unknown>} [args] */
  urge(name, args = {}) {
    this.settle(this.mirror.urge(name, args), false);
  }

  /** @param {Promise<any>} asked @param {boolean} quiet */
  settle(asked, quiet) {
    asked.then(
      () => quiet || this.problem.replaceChildren(),
      (error) => {
        if (!this.mirror.gone) this.problem.replaceChildren(errorCard(error.trouble ?? { message: String(error) }));
        this.draw(null); // what was refused is shown as it is
      },
    );
  }

  /** @param {Patch[] | null} patches */
  show(patches) {
    if (patches?.length && patches.every(([kind, path]) => kind === "grow" && path[0] === "lanes")) {
      for (const at of new Set(patches.map(([, path]) => Number(path[1])))) {
        const lane = this.tree.lanes[at];
        this.lanes.get(lane?.key)?.write(lane);
      }
      return;
    }
    const { tree } = this;
    /** @type {Lane[]} */
    const lanes = tree.lanes;
    this.sandbox.hidden = !tree.sandbox;
    setText(this.round, tree.round ? `Round ${tree.round}` : "");
    this.blind.checked = tree.blind;
    this.blind.disabled = tree.running;
    setValue(this.prompt, tree.prompt);
    setValue(this.system, tree.system);
    if (tree.system) this.more.open = true;
    // Both stay where they are and keep their focus: a second press on Run must not meet Stop.
    this.run.setAttribute("aria-disabled", String(tree.running));
    this.halt.setAttribute("aria-disabled", String(!tree.running));
    if (show(this.add, !tree.blind)) this.run.focus();
    this.add.disabled = tree.running || lanes.length >= tree.most;
    const answered = lanes.some((lane) => lane.state !== "");
    if (show(this.reveal, tree.hidden && answered && !tree.running)) this.run.focus();

    this.grid.style.setProperty("--lanes", String(Math.min(lanes.length, 4)));
    matchList(this.grid, lanes, (lane) => lane.key, (lane) => this.newLane(lane), (_, lane, at) => this.lanes.get(lane.key)?.draw(lane, tree, at));
    const here = new Set(lanes.map((lane) => lane.key));
    for (const [key, lane] of this.lanes) {
      if (lane.lost) lane.box.focus();
      lane.lost = false;
      if (here.has(key)) continue;
      lane.pen.lift();
      this.lanes.delete(key);
    }
    this.drawScore(tree.score);
    this.tell(tree.running, lanes);
  }

  /** @param {Lane} lane */
  newLane(lane) {
    const made = new LaneView(this, lane);
    this.lanes.set(lane.key, made);
    return made.root;
  }

  /** @param {{label: string, votes: number}[]} score */
  drawScore(score) {
    this.score.hidden = score.length === 0;
    const rows = score.length ? [{ label: "Votes so far", votes: -1 }, ...score] : [];
    matchList(this.score, rows, ({ label }) => label, () => make("span", ""), (node, { label, votes }) => {
      node.className = votes < 0 ? "bnp-title" : "bnp-badge";
      setText(node, votes < 0 ? label : `${label}: ${votes}`);
    });
  }

  /** Say the start and the end to a screen reader. @param {boolean} running @param {Lane[]} lanes */
  tell(running, lanes) {
    if (running === this.ran) return;
    this.ran = running;
    const failed = lanes.filter((lane) => lane.state === "failed").length;
    if (running) announce("The answers are being written.");
    else announce(failed ? `The answers have ended; ${failed} of them failed.` : "The answers have ended.");
  }

  close() {
    this.edited.now();
    for (const lane of this.lanes.values()) lane.pen.lift();
    super.close();
  }
}

export default panel((mirror, el) => new CompareView(mirror, el));
