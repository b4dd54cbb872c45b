/**
 * The page's half of bn.Compare (the kernel's half: interact/compare.py): one prompt, and a lane for each answer.
 *
 * While a round is hidden the document names nobody, and this file keeps nothing of what it was told before.
 *
 * @typedef {import("./panel.js").Mirror} Mirror
 * @typedef {import("./panel.js").Patch} Patch
 * @typedef {import("./panel.js").Trouble} Trouble
 * @typedef {{key: string, letter: string, label: string, name: string, model: string, temperature: number | null,
 *   extra: string, asked: {label: string, model: string, temperature: number | null, extra: string} | null, state: "" | "waiting" | "writing" | "done" | "stopped" | "failed", text: string, votes: number,
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

/** What an answer was asked for with, where that is not what the lane says by now. @param {Lane} lane */
function askedAs({ asked, label, model, temperature, extra }) {
  if (!asked) return "";
  const same = asked.model === model && asked.temperature === temperature && asked.extra === extra;
  const heat = asked.temperature === null ? "default temperature" : `temperature ${asked.temperature}`;
  const settings = same ? "" : [asked.model, heat, asked.extra].filter(Boolean).join(", ");
  const name = asked.label === label ? "Answered with" : `Answered as “${asked.label}”${same ? "" : " with"}`;
  return `${name} ${settings}`.trim();
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
    this.model = select();
    this.temperature = input("number", { min: "0", max: "2", step: "0.1", placeholder: "default" });
    this.removal = button("×", () => view.ask("remove", { lane: this.key }), { kind: "quiet", title: "Remove this lane" });
    for (const node of [this.label, this.model, this.temperature]) node.addEventListener("change", () => this.change());
    this.named = make("div", "bnp-row bnp-compare-head");
    this.named.append(this.letter, this.title, make("span", "bnp-space"), this.tally);
    this.settings = make("div", "bnp-compare-settings");
    const choices = make("div", "bnp-compare-choices");
    choices.append(field("Model", this.model), field("Temperature", this.temperature));
    const first = make("div", "bnp-compare-choices");
    first.append(this.label, this.removal);
    this.settings.append(first, choices);
    this.extra = make("div", "bnp-quiet bnp-compare-extra", { dir: "auto" });
    this.asked = make("div", "bnp-quiet bnp-compare-was", { dir: "auto" });

    this.box = make("div", "bnp-compare-box", { role: "log", "aria-live": "off", tabindex: "0" });
    this.paper = make("div", "bnp-prose", { dir: "auto" });
    this.trouble = make("div", "");
    this.note = make("div", "bnp-note", { hidden: "" });
    this.box.append(this.paper, this.note, this.trouble);
    this.follow = true; // whether the end is kept in view while it is written
    this.touched = false; // whether somebody has moved about in it
    for (const name of ["wheel", "touchmove", "pointerdown", "keydown"]) {
      this.box.addEventListener(name, () => (this.touched = true), { passive: true });
    }
    this.box.addEventListener("scroll", () => this.edges());
    this.box.addEventListener("pointerup", () => this.edges()); // it may have been made higher
    this.pen = new Pen(this.paper, () => {
      if (this.follow) this.box.scrollTop = this.box.scrollHeight;
      this.edges();
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
    this.root.append(this.named, this.settings, this.extra, this.asked, this.box, foot);
    this.lane = lane;
    /** @type {string} */
    this.stood = ""; // the state that is drawn: a lane changes in its place
    this.telling = 0; // settings that the kernel has not answered yet
    this.lost = false; // whether the focus was on something that has gone
    /** @type {string} */
    this.failure = "";
  }

  change() {
    const given = this.temperature.value.trim();
    // What is no number has no value, and says so.
    if (!this.temperature.validity.valid && !given) return this.temperature.reportValidity();
    this.telling += 1; // until it is answered the document has the old ones
    const args = { lane: this.key, label: this.label.value, model: this.model.value, temperature: given === "" ? null : Number(given) };
    return this.view.ask("lane", args, () => (this.telling -= 1));
  }

  /** See where the text is cut by the box's edges. */
  edges() {
    const { scrollTop, scrollHeight, clientHeight } = this.box;
    const below = scrollHeight - scrollTop - clientHeight;
    this.follow = below < 40;
    this.box.classList.toggle("bnp-compare-above", scrollTop > 4);
    this.box.classList.toggle("bnp-compare-below", below > 4);
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
    const was = this.stood;
    this.stood = lane.state;
    if (lane.state === "waiting" && was !== "waiting") {
      this.follow = true;
      this.touched = false;
    }
    this.write(lane);
    // A whole answer is read from its beginning.
    if (!open && (was === "waiting" || was === "writing") && !this.touched) this.box.scrollTop = 0;
    this.edges();
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
    const asked = askedAs(lane);
    setText(this.asked, asked);
    this.asked.hidden = !asked;

    setText(this.note, lane.note);
    this.note.hidden = !lane.note || lane.error !== null;
    const failure = JSON.stringify(lane.error);
    if (failure !== this.failure) {
      this.failure = failure;
      const focused = focusIn(this.trouble);
      away.push(focused !== null && this.trouble.contains(focused));
      this.trouble.replaceChildren(...(lane.error ? [this.card(lane.error, name)] : []));
    }
    this.root.classList.toggle("bnp-compare-asked", lane.state !== "");
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
      show(this.again, lane.state === "stopped"), // what failed has it in its card
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

  /** @param {Trouble} error @param {string} name */
  card(error, name) {
    // Where the same call may be made again, the button says what to do.
    const card = errorCard(error.retryable ? { ...error, todo: "" } : error, () => this.view.ask("retry", { lane: this.key }));
    const again = /** @type {HTMLButtonElement} */ (card.lastElementChild);
    if (error.retryable === false) setText(again, "Send again");
    again.setAttribute("aria-label", `${again.textContent}: ${name}`);
    return card;
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
    for (const node of [this.label, this.model, this.temperature]) node.disabled = tree.running;
    this.removal.disabled = tree.running || tree.lanes.length < 2;
    this.removal.setAttribute("aria-label", `Remove ${lane.label}`);
    if (this.telling) return;
    setValue(this.label, lane.name);
    this.label.placeholder = lane.label;
    const models = tree.models.includes(lane.model) ? tree.models : [lane.model, ...tree.models];
    fillSelect(this.model, models.map((/** @type {string} */ value) => ({ value })), lane.model);
    setValue(this.temperature, lane.temperature === null ? "" : String(lane.temperature));
  }
}

class CompareView extends PanelView {
  /** @param {Mirror} mirror @param {HTMLElement} el */
  constructor(mirror, el) {
    super(mirror, el, "bnp-compare", "Compare");
    /** @type {Map<string, LaneView>} */
    this.lanes = new Map();
    this.ran = false;
    /** @type {Set<"prompt" | "system">} */
    this.mine = new Set(); // what has been written here and not been taken by the kernel yet
    this.explained = false; // whether there was a system text

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
    this.edited = later(() => this.mine.size && this.send("edit"), PAUSE);
    for (const name of /** @type {const} */ (["prompt", "system"])) {
      this[name].addEventListener("input", () => {
        this.mine.add(name);
        this.edited();
      });
    }
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
    this.since = make("div", "bnp-quiet bnp-compare-since", { dir: "auto", hidden: "" });
    body.append(field("Prompt", this.prompt), more, row, this.problem, this.since);
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
    if (!this.tree.running) this.send("run");
  }

  /** Ask something with what was written here; all else the kernel knows better. @param {"edit" | "run"} name */
  send(name) {
    const sent = [...this.mine].map((part) => /** @type {const} */ ([part, this[part].value]));
    const taken = () => {
      for (const [part, text] of sent) if (this[part].value === text) this.mine.delete(part);
    };
    this.settle(this.mirror.ask(name, Object.fromEntries(sent)).then(taken), name === "edit");
  }

  /** @param {string} name @param {Record<string, unknown>} [args] @param {() => void} [ended] */
  ask(name, args = {}, ended = () => {}) {
    this.settle(this.mirror.ask(name, args).finally(ended), false);
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
    // Whether or not the caret stands in it: what is shown is what will be asked.
    for (const name of /** @type {const} */ (["prompt", "system"])) {
      if (!this.mine.has(name) && this[name].value !== tree[name]) this[name].value = tree[name];
    }
    if (tree.system && !this.explained) this.more.open = true;
    this.explained = tree.system !== "";
    // Both stay where they are and keep their focus: a second press on Run must not meet Stop.
    this.run.setAttribute("aria-disabled", String(tree.running));
    this.halt.setAttribute("aria-disabled", String(!tree.running));
    if (show(this.add, !tree.blind)) this.run.focus();
    this.add.disabled = tree.running || lanes.length >= tree.most;
    const answered = lanes.some((lane) => lane.state !== "");
    this.drawAsked(answered ? tree.asked : null);
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

  /** Say what the answers below were asked, where it is not what is written above. @param {{prompt: string, system: string} | null} asked */
  drawAsked(asked) {
    const { prompt, system } = this.tree;
    const other = asked !== null && (asked.prompt !== prompt || asked.system !== system);
    const under = asked && asked.system !== system ? (asked.system ? ` under the system text “${asked.system}”` : " without a system text") : "";
    setText(this.since, other ? `Changed since: the answers below were asked “${asked.prompt}”${under}` : "");
    this.since.hidden = !other;
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
