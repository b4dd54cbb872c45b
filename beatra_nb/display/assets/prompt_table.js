/**
 * The rows of a prompt builder: a table to type into, to paste into, and to run. Rows may be thousands, so only those
 * that can be seen are nodes, and the one that is written in.
 *
 * @typedef {{state: "asking" | "done" | "error", text?: string, version?: number, score?: number, cut?: boolean, old?: boolean}} Brief
 * @typedef {{id: number, v: Record<string, string | null>, a: Brief | null}} Row
 * @typedef {{columns: string[], variables: {name: string}[], rows: Row[], selected: number, version: number, run: any}} Tree
 */
import { button, errorCard, field, focusIn, input, later, matchList, setText, setValue, textArea, touches } from "./panel.js";
import { announce, make } from "./server.js";

const ROW = 38; // pixels; all rows are of one height, so that the place of each is known without drawing it
const SPARE = 4; // rows that are drawn above and below those that are seen
const PAUSE = 250; // milliseconds after the last key until the kernel hears what was typed
const MARKS = { asking: "…", done: "✓", error: "!" };

/** Which rows are drawn. @param {number} top @param {number} height @param {number} count @returns {[number, number]} */
export function rowsToDraw(top, height, count) {
  const first = Math.max(0, Math.floor(top / ROW) - SPARE);
  return [first, Math.min(count, Math.ceil((top + height) / ROW) + SPARE)];
}

/** Whether a pasted text is more than what belongs into one cell. @param {string} text */
export function isTable(text) {
  return /[\t\n\r]/.test(text.trim());
}

/** What running all rows will take, in words. @param {any} plan */
export function wordsOfPlan(plan) {
  const words = [`${count(plan.calls, "call")}, about ${plan.tokens.toLocaleString("en")} tokens to send`];
  if (plan.price) words.push(`about ${plan.price}`);
  const unfit = plan.unfit ? ` ${count(plan.unfit, "row")} cannot be sent as ${plan.unfit === 1 ? "it is" : "they are"}.` : "";
  return `${words.join(", ")}.${unfit}`;
}

/** @param {number} n @param {string} noun */
export function count(n, noun) {
  return `${n.toLocaleString("en")} ${noun}${n === 1 ? "" : "s"}`;
}

/** A value of a row; a column may be called as what every object has. @param {Row} row @param {string} column */
export function valueOf(row, column) {
  return Object.hasOwn(row.v, column) ? row.v[column] : null;
}

/** What has come of a row, in one line. @param {Brief | null} told @param {number} version the prompt's, as it stands */
export function wordsOfBrief(told, version) {
  if (!told) return "";
  const words = [];
  if (told.score) words.push(`★${told.score}`);
  if (told.version && told.version !== version) words.push(`v${told.version}`);
  if (told.old) words.push("the row has changed since");
  if (told.cut) words.push("cut off");
  words.push(told.text ?? (told.state === "asking" ? "asking" : ""));
  return words.join(" · ");
}

/** How far a run has come, in words. @param {{on: boolean, done: number, of: number, failed: number}} run */
export function wordsOfRun({ done, of, failed }) {
  if (!of) return "";
  const good = (done - failed).toLocaleString("en");
  const answered = done === of && failed ? `${good} answered` : `${good} of ${of.toLocaleString("en")} answered`;
  return failed ? `${answered}, ${failed.toLocaleString("en")} failed.` : `${answered}.`;
}

export class RowTable {
  /** @param {any} mirror @param {() => void} flush makes the kernel hear what was typed elsewhere */
  constructor(mirror, flush) {
    this.mirror = mirror;
    this.flush = flush;
    this.node = make("div", "bnp-builder-rows", { role: "group", "aria-label": "Rows" });
    this.title = make("span", "bnp-title", {}, "Rows");
    this.progress = make("span", "bnp-quiet bnp-figures", {});
    this.all = button("Run all…", () => this.plan(), { title: "Say what it takes, then ask for every row" });
    this.halt = button("Stop", () => this.mirror.urge("stop").catch(() => {}), { kind: "danger" });
    this.bar = make("div", "bnp-bar");
    this.bar.append(
      this.title,
      button("Add row", () => this.add()),
      button("Paste a table", () => this.openPaste("")),
      make("span", "bnp-space"),
      this.progress,
      this.halt,
      this.all,
    );
    this.asked = make("div", "bnp-builder-strip", { role: "group", "aria-label": "Run all rows", hidden: "" });
    this.paste = make("div", "bnp-builder-strip", { role: "group", "aria-label": "Paste a table", hidden: "" });
    this.problem = make("div", "", { hidden: "" });
    this.head = make("div", "bnp-builder-head", { role: "row", "aria-rowindex": "1" });
    this.body = make("div", "bnp-builder-body", { role: "rowgroup" });
    this.grid = make("div", "bnp-builder-grid", { role: "table", "aria-label": "Rows and their answers" });
    const top = make("div", "bnp-builder-top", { role: "rowgroup" });
    top.append(this.head);
    this.grid.append(top, this.body);
    this.node.append(this.bar, this.asked, this.paste, this.problem, this.grid);
    this.grid.addEventListener("scroll", () => this.soon(true), { passive: true });
    this.frame = 0;
    /** @type {WeakMap<HTMLTextAreaElement, {row: number, column: string, call: any}>} */
    this.drafts = new WeakMap();
    this.resized = typeof ResizeObserver === "function" ? new ResizeObserver(() => this.soon()) : null;
    this.resized?.observe(this.grid);
    this.wasOn = false;
    this.wanted = 0; // the row that the kernel was asked to look at
  }

  /** @returns {Tree} */
  get tree() {
    return this.mirror.tree;
  }

  close() {
    this.resized?.disconnect();
    cancelAnimationFrame(this.frame);
  }

  soon(scrolled = false) {
    cancelAnimationFrame(this.frame);
    this.frame = requestAnimationFrame(() => this.draw(scrolled));
  }

  /** @param {any} patches */
  show(patches) {
    if (["rows", "columns", "variables", "selected", "version"].some((key) => touches(patches, key))) this.draw();
    if (touches(patches, "run") || touches(patches, "rows")) this.showRun();
  }

  /** Draw everything, or, where the table was only scrolled, the rows that have come in sight. */
  draw(scrolled = false) {
    const { rows } = this.tree;
    if (!scrolled) this.drawFrame();
    const [first, last] = rowsToDraw(this.grid.scrollTop, this.grid.clientHeight || ROW * 8, rows.length);
    const seen = rows.slice(first, last).map((row, i) => ({ row, at: first + i }));
    const focused = this.drafted();
    if (focused !== null && !seen.some(({ row }) => row.id === focused)) {
      const at = rows.findIndex((row) => row.id === focused);
      if (at >= 0) seen.splice(at < first ? 0 : seen.length, 0, { row: rows[at], at });
    }
    matchList(this.body, seen, ({ row }) => String(row.id), () => this.makeRow(), (node, { row, at }) => {
      if (!scrolled || node.dataset.at !== String(at)) this.drawRow(node, row, at);
    });
  }

  /** Draw the head, and what the columns and the number of rows decide. */
  drawFrame() {
    const { columns, rows } = this.tree;
    const shown = [{ key: "#", label: "#" }, ...columns.map((name) => ({ key: `c:${name}`, label: name }))];
    const heads = [...shown, { key: "answer", label: "Answer" }, { key: "actions", label: "Actions" }];
    matchList(this.head, heads, (each) => each.key, () => make("div", "", { role: "columnheader" }), (node, each) => {
      setText(node, each.label);
      node.title = each.label;
    });
    // Every row is a grid of its own with these columns.
    const widths = `44px ${columns.map(() => "minmax(130px, 1fr)").join(" ")} minmax(200px, ${Math.max(1.4, columns.length * 0.7)}fr) 76px`;
    this.grid.style.setProperty("--bnp-builder-columns", widths);
    this.grid.style.setProperty("--bnp-builder-width", `${320 + columns.length * 130}px`);
    this.grid.setAttribute("aria-rowcount", String(rows.length + 1));
    this.body.style.height = `${rows.length * ROW}px`;
  }

  /** The row that holds the focus. @returns {number | null} */
  drafted() {
    const row = focusIn(this.body)?.closest?.(".bnp-builder-row");
    return row && this.body.contains(row) ? Number(/** @type {HTMLElement} */ (row).dataset.key) : null;
  }

  makeRow() {
    const node = make("div", "bnp-builder-row", { role: "row" });
    node.addEventListener("mousedown", () => this.select(Number(node.dataset.key)));
    node.addEventListener("focusin", () => this.select(Number(node.dataset.key)));
    return node;
  }

  /** @param {HTMLElement} node @param {Row} row @param {number} at */
  drawRow(node, row, at) {
    const { columns, selected } = this.tree;
    node.dataset.at = String(at);
    node.style.top = `${at * ROW}px`;
    node.setAttribute("aria-rowindex", String(at + 2));
    if (row.id === selected) node.setAttribute("aria-current", "true");
    else node.removeAttribute("aria-current");
    const keys = ["#", ...columns.map((name) => `c:${name}`), "answer", "actions"];
    matchList(node, keys, (key) => key, (key) => this.makeCell(key, node), (cell, key) => this.drawCell(cell, key, row, at));
  }

  /** @param {string} key @param {HTMLElement} rowNode */
  makeCell(key, rowNode) {
    const id = () => Number(rowNode.dataset.key);
    if (key === "#") return make("div", "bnp-builder-number bnp-figures", { role: "rowheader" });
    const kind = key === "answer" ? "outcome" : key === "actions" ? key : "cell";
    const cell = make("div", `bnp-builder-${kind}`, { role: "cell" });
    if (key === "actions") {
      cell.append(
        button("▶", () => this.run([id()]), { kind: "quiet" }),
        button("×", () => this.drop(id()), { kind: "quiet" }),
      );
    } else if (key === "answer") {
      cell.append(make("span", "bnp-builder-mark", { "aria-hidden": "true" }), make("span", "bnp-builder-said", { dir: "auto" }));
    } else {
      const area = textArea("", 1);
      area.spellcheck = false;
      const draft = { row: 0, column: key.slice(2), call: later(() => this.commit(area), PAUSE) };
      this.drafts.set(area, draft);
      area.addEventListener("input", () => draft.call());
      area.addEventListener("focus", () => (draft.row = id()));
      area.addEventListener("blur", () => {
        draft.call.now();
        // What was typed as 1.0 may have come back as 1.
        setTimeout(() => this.soon(), 0);
      });
      area.addEventListener("keydown", (event) => this.press(event, area));
      area.addEventListener("paste", (event) => this.pasted(event, area));
      cell.append(area);
    }
    return cell;
  }

  /** @param {HTMLElement} cell @param {string} key @param {Row} row @param {number} at */
  drawCell(cell, key, row, at) {
    if (key === "#") setText(cell, String(at + 1));
    else if (key === "answer") {
      const told = row.a;
      const text = wordsOfBrief(told, this.tree.version);
      cell.dataset.state = told?.state ?? "";
      const [mark, said] = /** @type {HTMLElement[]} */ ([...cell.children]);
      setText(mark, told ? MARKS[told.state] : "");
      setText(said, text);
      said.title = text;
    } else if (key === "actions") {
      const [run, drop] = /** @type {HTMLButtonElement[]} */ ([...cell.children]);
      run.setAttribute("aria-label", `Run row ${at + 1}`);
      run.title = `Run row ${at + 1}`;
      run.disabled = row.a?.state === "asking";
      drop.setAttribute("aria-label", `Remove row ${at + 1}`);
      drop.title = `Remove row ${at + 1}`;
    } else {
      const area = /** @type {HTMLTextAreaElement} */ (cell.firstChild);
      const value = valueOf(row, key.slice(2));
      setValue(area, value ?? "");
      const needed = value === null && this.tree.variables.some(({ name }) => name === key.slice(2));
      area.placeholder = needed ? "missing" : value === "" ? "(empty text)" : "";
      area.setAttribute("aria-label", `${key.slice(2)}, row ${at + 1}`);
    }
  }

  /** Make the kernel hear what was typed into a cell. @param {HTMLTextAreaElement} area */
  commit(area) {
    const draft = this.drafts.get(area);
    if (!draft) return;
    const row = this.tree.rows.find((each) => each.id === draft.row);
    if (!row || (valueOf(row, draft.column) ?? "") === area.value) return;
    this.ask("cell", { row: draft.row, column: draft.column, value: area.value });
  }

  /** Make the kernel hear everything that was typed into cells. */
  settle() {
    for (const area of this.body.querySelectorAll("textarea")) this.drafts.get(area)?.call.now();
  }

  /** @param {KeyboardEvent} event @param {HTMLTextAreaElement} area */
  press(event, area) {
    if (event.isComposing) return;
    const draft = this.drafts.get(area);
    if (!draft) return;
    const at = this.tree.rows.findIndex((row) => row.id === draft.row);
    const plain = !event.shiftKey && !event.ctrlKey && !event.metaKey && !event.altKey;
    if (event.key === "Enter" && plain) {
      event.preventDefault();
      draft.call.now();
      if (at + 1 < this.tree.rows.length) this.focusCell(at + 1, draft.column);
      else if (area.value) this.add(draft.column);
    } else if (event.key === "ArrowDown" && plain && area.selectionEnd === area.value.length) this.focusCell(at + 1, draft.column);
    else if (event.key === "ArrowUp" && plain && area.selectionStart === 0) this.focusCell(at - 1, draft.column);
  }

  /** @param {number} at @param {string} column */
  focusCell(at, column) {
    const row = this.tree.rows[at];
    if (!row) return;
    const top = at * ROW;
    const room = this.grid.clientHeight - 2 * ROW;
    if (top < this.grid.scrollTop) this.grid.scrollTop = top;
    else if (top > this.grid.scrollTop + room) this.grid.scrollTop = top - room;
    this.draw();
    const node = [.../** @type {HTMLCollectionOf<HTMLElement>} */ (this.body.children)].find((each) => each.dataset.key === String(row.id));
    const cell = [.../** @type {any} */ (node?.children ?? [])].find((each) => each.dataset.key === `c:${column}`);
    cell?.firstChild.focus();
  }

  /** @param {number} id */
  select(id) {
    if (id !== this.tree.selected && this.wanted !== id) {
      this.wanted = id;
      this.ask("select", { row: id }).finally(() => (this.wanted = 0));
    }
  }

  /** @param {string} [column] where to write on */
  async add(column) {
    await this.ask("row_add");
    this.focusCell(this.tree.rows.length - 1, column ?? this.tree.columns[0] ?? "");
  }

  /** @param {number} id */
  async drop(id) {
    const at = this.tree.rows.findIndex((row) => row.id === id);
    await this.ask("row_drop", { row: id });
    announce(`Row ${at + 1} was removed.`);
    /** @type {HTMLElement | null} */
    const node = this.body.querySelector(`[data-key="${this.tree.selected}"] .bnp-builder-actions button:last-child`);
    node?.focus();
  }

  // ── running ──

  /** @param {number[]} rows */
  run(rows) {
    this.flush();
    this.settle();
    return this.ask("run", { rows });
  }

  async plan() {
    this.flush();
    this.settle();
    const plan = await this.ask("plan");
    if (!plan) return;
    const close = () => {
      this.asked.hidden = true;
      this.all.focus();
    };
    const go = (/** @type {boolean} */ left) => {
      close();
      this.ask("run", { left });
    };
    const all = button(`Run all ${plan.calls.toLocaleString("en")}`, () => go(false), { kind: "primary" });
    const buttons = [all];
    if (plan.left && plan.left < plan.calls) buttons.push(button(`Only the ${plan.left.toLocaleString("en")} without an answer`, () => go(true)));
    buttons.push(button("Cancel", close, { kind: "quiet" }));
    const line = make("div", "bnp-row");
    line.append(...buttons);
    this.asked.replaceChildren(make("div", "", {}, wordsOfPlan(plan)), line);
    this.asked.onkeydown = (/** @type {KeyboardEvent} */ event) => {
      if (event.key === "Escape") close();
    };
    this.asked.hidden = false;
    announce(wordsOfPlan(plan));
    all.focus();
  }

  showRun() {
    const { run, rows } = this.tree;
    setText(this.title, rows.length === 1 ? "1 row" : `${rows.length.toLocaleString("en")} rows`);
    const note = run.note ? ` ${run.note}` : "";
    const words = `${wordsOfRun(run)}${note}`;
    setText(this.progress, words);
    this.halt.hidden = !run.on;
    if (run.on && !this.wasOn) announce("Asking.");
    if (!run.on && this.wasOn) announce(words);
    this.wasOn = run.on;
  }

  // ── pasting ──

  /** @param {ClipboardEvent} event @param {HTMLTextAreaElement} area */
  pasted(event, area) {
    const text = event.clipboardData?.getData("text/plain") ?? "";
    if (!isTable(text)) return;
    event.preventDefault();
    this.openPaste(text, area);
  }

  /** @param {string} text @param {HTMLTextAreaElement} [into] the cell that it was pasted into */
  openPaste(text, into) {
    const area = textArea("city,country\nOslo,Norway", 4);
    area.classList.add("bnp-code");
    area.id = `bnp-builder-paste-${Math.random().toString(36).slice(2)}`;
    area.value = text;
    const header = input("checkbox");
    header.className = "";
    header.id = `${area.id}-header`;
    const names = make("label", "bnp-row", { for: header.id });
    names.append(header, "The first line holds the names of the columns");
    const told = make("div", "bnp-quiet", { role: "status" });
    /** @type {boolean | null} */
    let chosen = null;
    const take = async (/** @type {boolean} */ add) => {
      const count = await this.ask("paste", { text: area.value, header: chosen, add });
      if (count === undefined) return;
      close();
      announce(`${count} rows were pasted.`);
    };
    const put = button("Replace the rows", () => take(false), { kind: "primary" });
    const more = button("Add to the rows", () => take(true));
    const close = () => {
      this.paste.hidden = true;
      this.paste.replaceChildren();
      this.showProblem(null);
      this.focusCell(this.tree.rows.findIndex((row) => row.id === this.tree.selected), this.tree.columns[0] ?? "");
    };
    const read = async () => {
      const value = area.value;
      put.disabled = more.disabled = true;
      if (!value.trim()) return setText(told, "");
      try {
        const found = await this.mirror.ask("read", { text: value, header: chosen });
        if (area.value !== value) return undefined;
        header.checked = found.header;
        setText(told, `${count(found.count, "row")} with ${found.columns.join(", ")}`);
        put.disabled = more.disabled = found.count === 0;
      } catch (error) {
        setText(told, /** @type {any} */ (error).trouble?.message ?? "This cannot be read.");
      }
      return undefined;
    };
    const soon = later(read, PAUSE);
    area.addEventListener("input", () => soon());
    header.addEventListener("change", () => {
      chosen = header.checked;
      read();
    });
    const buttons = make("div", "bnp-row");
    buttons.append(put, more);
    if (into)
      buttons.append(
        button("As text into the cell", () => {
          close();
          const at = this.tree.rows.findIndex((row) => row.id === this.drafts.get(into)?.row);
          this.focusCell(at, this.drafts.get(into)?.column ?? "");
          document.execCommand("insertText", false, text);
        }),
      );
    buttons.append(button("Cancel", close, { kind: "quiet" }));
    this.paste.replaceChildren(field("Rows from a spreadsheet, or as CSV", area), names, told, buttons);
    this.paste.onkeydown = (/** @type {KeyboardEvent} */ event) => {
      if (event.key === "Escape") close();
    };
    this.paste.hidden = false;
    put.disabled = more.disabled = true;
    if (text) read().then(() => put.focus());
    else area.focus();
  }

  // ── asking ──

  /** Ask, and show what is refused. @param {string} what @param {Record<string, unknown>} [args] @returns {Promise<any>} */
  ask(what, args = {}) {
    return this.mirror.ask(what, args).then(
      (/** @type {any} */ value) => {
        this.showProblem(null);
        return value;
      },
      (/** @type {any} */ error) => void this.showProblem(error.trouble ?? { message: String(error) }),
    );
  }

  /** @param {any} trouble */
  showProblem(trouble) {
    this.problem.hidden = !trouble;
    this.problem.replaceChildren(...(trouble ? [errorCard(trouble)] : []));
  }
}
