/**
 * The page's half of bn.TaskBoard (the kernel's half: interact/task_board.py): a table of tasks, live.
 *
 * @typedef {import("./panel.js").Mirror} Mirror
 * @typedef {import("./panel.js").Patch} Patch
 * @typedef {import("./panel.js").Trouble} Trouble
 * @typedef {{id: string, status: string, tone: "good" | "bad" | "warn" | "info" | "plain", title: string, model: string,
 *   percent: number | null, stage: string, created: number | null, elapsed: number | null, cost: string, done: boolean,
 *   here: boolean, canceling: boolean, why: string, refunded: string, busy: string, attached: boolean, note: string,
 *   error: Trouble | null, saved: string[]}} Row
 * @typedef {{key: string, title: string, seconds: number}} Lost
 */
import { announce, make } from "./server.js";
import { badge, button, copyText, errorCard, focusIn, matchList, panel, PanelView, setText, touches } from "./panel.js";

const SURE = 5000; // milliseconds in which a second press cancels
const LOOKING = 60000; // milliseconds between two words to the kernel that somebody looks
const FILTERS = { all: "All", running: "Running", succeeded: "Succeeded", failed: "Failed" };
const HEADS = ["Status", "Task", "Age", "Cost", "Id", "Actions"];
const UNITS = /** @type {const} */ ([[86400, "d"], [3600, "h"], [60, "min"]]);

/** Whether a task is shown under a filter. @param {Row} row @param {string} filter */
export function passes(row, filter) {
  if (filter === "running") return !row.done;
  if (filter === "failed") return row.status === "failed" || row.status === "canceled";
  return filter === "all" || row.status === filter;
}

/** How long ago, in one unit. @param {number} seconds */
export function age(seconds) {
  const passed = Math.max(0, Math.floor(seconds));
  const found = UNITS.find(([length]) => passed >= length);
  return found ? `${Math.floor(passed / found[0]).toLocaleString("en")} ${found[1]}` : `${passed} s`;
}

/** @param {string} kind */
function cell(kind) {
  return make("td", kind, { role: "cell" });
}

/** One task. */
class RowView {
  /** @param {BoardView} board @param {Row} row */
  constructor(board, row) {
    this.id = row.id;
    this.failure = "";
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.sure = undefined;
    /** @type {HTMLElement | null} */
    this.heir = null; // who has the focus after a button that went
    this.root = make("tr", "", { role: "row" }); // its look may be a card's, and it stays a row
    this.status = badge("");
    this.title = make("div", "bnp-board-title", { dir: "auto" });
    this.track = make("div", "bnp-track", { role: "progressbar", "aria-valuemin": "0", "aria-valuemax": "100" });
    this.bar = make("div", "");
    this.track.append(this.bar);
    this.note = make("div", "bnp-quiet", { dir: "auto" });
    this.trouble = make("div", "");
    this.model = make("div", "bnp-quiet bnp-board-model", { dir: "auto" });
    this.age = cell("bnp-figures bnp-board-age");
    this.cost = cell("bnp-figures bnp-board-cost");
    this.paid = make("div", "");
    this.refund = make("div", "bnp-quiet");
    this.cost.append(this.paid, this.refund);
    this.copy = button("Copy id", () => copyText(this.copy, this.id), { kind: "quiet", title: row.id });
    this.cancel = button("Cancel", () => this.cancelOnce(board), { kind: "danger" });
    this.attach = button("Attach", () => board.ask("attach", { task: this.id }), { title: "Wait for it here, and fetch its audio" });
    this.save = button("Download", () => board.ask("download", { task: this.id }), { title: "Save its audio beside the notebook" });
    const what = cell("bnp-board-what");
    what.append(this.title, this.model, this.track, this.note, this.trouble);
    const state = cell("bnp-board-status");
    state.append(this.status);
    const id = cell("bnp-board-id");
    this.code = make("code", "bnp-id", { title: row.id }, row.id);
    id.append(this.code, this.copy);
    const actions = cell("bnp-board-actions");
    this.actions = make("div", "bnp-row");
    this.actions.append(this.cancel, this.attach, this.save);
    actions.append(this.actions);
    this.root.append(state, what, this.age, this.cost, id, actions);
  }

  /** Cancel at the second press. @param {BoardView} board */
  cancelOnce(board) {
    const sure = this.sure !== undefined;
    this.calm();
    if (sure) {
      board.settle(board.mirror.urge("cancel", { task: this.id }), true); // it is heard while a cell runs, too
      return;
    }
    setText(this.cancel, "Really cancel?");
    announce("Press again to cancel the task.");
    this.sure = setTimeout(() => this.calm(), SURE);
  }

  calm() {
    clearTimeout(this.sure);
    this.sure = undefined;
    setText(this.cancel, "Cancel");
  }

  /** @param {Row} row @param {BoardView} board */
  draw(row, board) {
    setText(this.status, row.status);
    this.status.className = `bnp-badge${row.tone === "plain" ? "" : ` bnp-${row.tone}`}`;
    setText(this.title, row.title);
    this.track.hidden = row.done;
    this.track.setAttribute("aria-label", `Progress of ${row.title}`);
    if (row.percent === null) this.track.removeAttribute("aria-valuenow");
    else this.track.setAttribute("aria-valuenow", String(Math.round(row.percent)));
    this.bar.style.width = `${row.percent ?? 0}%`;
    const waits = row.attached ? "waiting for it here" : "";
    const notes = [row.canceling ? "cancelling" : "", row.busy, row.done ? row.why : row.stage, waits, row.note];
    if (row.saved.length) notes.push(`saved as ${row.saved.join(", ")}`);
    else if (row.status === "succeeded" && !row.here) notes.push("its audio has not been fetched here yet");
    setText(this.note, notes.filter(Boolean).join(" · "));
    const failure = JSON.stringify(row.error);
    if (failure !== this.failure) {
      this.failure = failure;
      this.trouble.replaceChildren(...(row.error ? [errorCard(row.error)] : []));
    }
    setText(this.model, row.model);
    this.model.hidden = !row.model;
    this.tick(row);
    setText(this.paid, row.cost);
    setText(this.refund, row.refunded);
    const focused = focusIn(this.actions);
    this.cancel.hidden = row.done;
    this.attach.hidden = row.attached || row.done;
    this.save.hidden = row.status !== "succeeded";
    const lost = focused !== null && focused.hidden && this.actions.contains(focused);
    // Given on when all rows are in their places.
    this.heir = lost ? (this.actions.querySelector("button:not([hidden])") ?? board.refresh) : null;
    this.cancel.disabled = row.busy !== "" || row.canceling;
    this.save.disabled = row.busy !== "";
    this.cancel.setAttribute("aria-description", row.title);
    this.attach.setAttribute("aria-description", row.title);
    this.save.setAttribute("aria-description", row.title);
    if (row.done) this.calm();
  }

  /** @param {Row} row */
  tick(row) {
    const since = row.created === null ? null : Date.now() / 1000 - row.created;
    setText(this.age, since === null ? "" : age(since));
    this.age.title = row.elapsed === null ? "" : `took ${age(row.elapsed)}`;
  }
}

class BoardView extends PanelView {
  /** @param {Mirror} mirror @param {HTMLElement} el */
  constructor(mirror, el) {
    super(mirror, el, "bnp-board", "Task board");
    /** @type {Map<string, RowView>} */
    this.rows = new Map();
    /** @type {Map<string, string>} */
    this.states = new Map();
    const card = make("div", "bnp-card");
    const bar = make("div", "bnp-bar");
    this.sandbox = badge("sandbox", "info");
    this.filters = make("div", "bnp-row", { role: "group", "aria-label": "Show" });
    for (const [name, label] of Object.entries(FILTERS)) {
      const node = button(label, () => this.ask("filter", { which: name }));
      node.classList.add("bnp-chip");
      node.dataset.filter = name;
      this.filters.append(node);
    }
    this.refresh = button("Refresh", () => this.ask("refresh"));
    bar.append(make("span", "bnp-title", {}, "Tasks"), this.sandbox, this.filters, make("span", "bnp-space"), this.refresh);
    this.warning = make("div", "bnp-note bnp-board-note", { role: "status", hidden: "" });
    this.problem = make("div", "bnp-board-problem");
    const table = make("table", "bnp-table", { role: "table" });
    const head = make("tr", "", { role: "row" });
    for (const text of HEADS) head.append(make("th", `bnp-board-${text.toLowerCase()}`, { scope: "col", role: "columnheader" }, text));
    const heads = make("thead", "", { role: "rowgroup" });
    heads.append(head);
    this.body = make("tbody", "", { role: "rowgroup" });
    table.append(heads, this.body);
    this.scroll = make("div", "bnp-scroll", { tabindex: "0", role: "region", "aria-label": "Tasks" });
    this.scroll.append(table);
    this.empty = make("div", "bnp-empty");
    this.lost = make("div", "bnp-board-lost");
    const foot = make("div", "bnp-bar");
    this.count = make("span", "bnp-quiet bnp-figures");
    this.more = button("Show more", () => this.ask("more"));
    foot.append(this.count, make("span", "bnp-space"), this.more);
    card.append(bar, this.warning, this.problem, this.scroll, this.empty, this.lost, foot);
    this.root.append(card);
    this.clock = setInterval(() => this.tick(), 1000);
    this.here = setInterval(() => this.look(), LOOKING);
    this.seen = () => this.look();
    document.addEventListener("visibilitychange", this.seen);
  }

  /** Tell the kernel that somebody looks; it is nothing to wait for. */
  look() {
    if (document.hidden || this.mirror.gone) return;
    try {
      this.mirror.model.send({ ask: "here", id: ++this.mirror.number, by: this.mirror.me, args: {} });
    } catch {
      this.mirror.lose();
    }
  }

  /** @param {string} name @param {Record<string, unknown>} [args] */
  ask(name, args = {}) {
    this.settle(this.mirror.ask(name, args), "task" in args);
  }

  /** @param {Promise<any>} asked @param {boolean} own whether it is about one task: its trouble stands in its row */
  settle(asked, own) {
    asked.then(
      () => this.problem.replaceChildren(),
      (error) => {
        if (!this.mirror.gone && !own) this.problem.replaceChildren(errorCard(error.trouble ?? { message: String(error) }));
      },
    );
  }

  /** @returns {Row[]} */
  get shown() {
    return this.tree.rows.filter((/** @type {Row} */ row) => passes(row, this.tree.filter));
  }

  /** @param {Patch[] | null} patches */
  show(patches) {
    const { tree } = this;
    this.sandbox.hidden = !tree.sandbox;
    for (const node of this.filters.children) node.setAttribute("aria-pressed", String(node.dataset.filter === tree.filter));
    setText(this.warning, tree.note);
    this.warning.hidden = !tree.note;
    this.refresh.setAttribute("aria-busy", String(tree.loading));
    this.drawRows(patches);
    if (touches(patches, "lost")) matchList(this.lost, tree.lost, (/** @type {Lost} */ job) => job.key, (job) => this.newLost(job));
    if (!tree.more && focusIn(this.more) === this.more) this.refresh.focus();
    this.more.hidden = !tree.more;
  }

  /** Draw the rows that have changed; which there are, and how many, only where that may have changed. @param {Patch[] | null} patches */
  drawRows(patches) {
    const { tree } = this;
    const all = patches === null || patches.some(([, [key, at]]) => key === "filter" || key === "looked" || key === "note" || (key === "rows" && at === undefined));
    const own = (patches ?? []).filter(([, [key, at]]) => key === "rows" && at !== undefined);
    const changed = new Set(own.map(([, path]) => /** @type {string} */ (tree.rows[Number(path[1])]?.id)));
    if (!all && !own.some(([, path]) => path[2] === "status" || path[2] === "done")) {
      for (const [, path] of own) this.drawRow(tree.rows[Number(path[1])]);
      this.inherit(changed);
      return;
    }
    const whole = patches === null || patches.some(([, path]) => path[0] === "rows" && path.length === 1);
    const { shown } = this;
    const fresh = (/** @type {Row} */ row) => {
      changed.add(row.id);
      return this.newRow(row);
    };
    matchList(this.body, shown, (row) => row.id, fresh, (_, row) => (whole || changed.has(row.id)) && this.drawRow(row));
    this.inherit(this.rows.keys());
    const here = new Set(shown.map((row) => row.id));
    for (const [id, row] of this.rows) {
      if (here.has(id)) continue;
      row.calm();
      this.rows.delete(id);
    }
    this.scroll.hidden = shown.length === 0;
    this.empty.hidden = shown.length > 0;
    const none = tree.rows.length ? "No such task among those that are loaded." : "No tasks yet.";
    setText(this.empty, tree.looked === null && !tree.note ? "Looking …" : none);
    const count = tree.rows.length === 1 ? "1 task" : `${tree.rows.length.toLocaleString("en")} tasks`;
    setText(this.count, tree.rows.length ? `${shown.length === tree.rows.length ? "" : `${shown.length} of `}${count}` : "");
    this.tell();
  }

  /** @param {Row | undefined} row */
  drawRow(row) {
    if (row) this.rows.get(row.id)?.draw(row, this);
  }

  /** Give the focus on from buttons that went. @param {Iterable<string>} ids */
  inherit(ids) {
    for (const id of ids) {
      const row = this.rows.get(id);
      row?.heir?.focus();
      if (row) row.heir = null;
    }
  }

  /** @param {Row} row */
  newRow(row) {
    const made = new RowView(this, row);
    this.rows.set(row.id, made);
    return made.root;
  }

  /** @param {Lost} job */
  newLost(job) {
    const node = make("div", "bnp-note");
    node.append(
      make("strong", "", { dir: "auto" }, job.title),
      ` was begun here ${age(job.seconds)} ago, and nobody knows whether the service took it. `,
      make("code", "bnp-code", {}, "bn.pending()"),
      " asks again under its key: one job, paid once. The board begins nothing.",
    );
    return node;
  }

  /** Say to a screen reader what has ended. */
  tell() {
    for (const { id, status, title, done } of /** @type {Row[]} */ (this.tree.rows)) {
      const before = this.states.get(id);
      if (before !== undefined && before !== status && done) announce(`${title}: ${status}.`);
      this.states.set(id, status);
    }
  }

  tick() {
    for (const row of this.shown) this.rows.get(row.id)?.tick(row);
  }

  close() {
    clearInterval(this.clock);
    clearInterval(this.here);
    document.removeEventListener("visibilitychange", this.seen);
    for (const row of this.rows.values()) row.calm();
    super.close();
  }
}

export default panel((mirror, el) => new BoardView(mirror, el));
