/**
 * A prompt builder in the page: what is asked on the left, what is sent and answered on the right, the rows below.
 * The kernel's half is interact/prompt_builder.py; it fills in the templates and says what they come to.
 *
 * @typedef {import("./panel.js").Patch} Patch
 */
import { GrowingMarkdown } from "./live_markdown.js";
import { badge, button, errorCard, field, fillSelect, focusIn, input, later, matchList, panel, PanelView, requestId, select, setText, setValue, textArea, touches } from "./panel.js";
import { Code, History } from "./prompt_history.js";
import { count, RowTable } from "./prompt_table.js";
import { announce, make } from "./server.js";

const PAUSE = 200; // milliseconds after the last key until the kernel hears what was typed
const SIDES = ["Build", "History", "Code"];
const SETTINGS = { temperature: "Temperature", max_tokens: "Max tokens", schema: "Schema of the answer" };
class View extends PanelView {
  /** @param {import("./panel.js").Mirror} mirror @param {HTMLElement} el */
  constructor(mirror, el) {
    super(mirror, el, "bnp-builder", "Prompt builder");
    this.drawn = ""; // the answer that is shown
    // Every widget has a module of its own, so that a count would begin anew with each.
    this.id = `bnp-builder-${Math.random().toString(36).slice(2)}`;
    /** @type {Set<any>} what was typed and not yet heard */
    this.drafts = new Set();
    /** @type {Record<string, {node: any, wrong: HTMLElement}>} */
    this.fields = {};
    const flush = () => this.flush();
    this.table = new RowTable(mirror, flush);
    this.history = new History(mirror);
    this.code = new Code(mirror, flush);
    this.problem = make("div", "");
    const card = make("div", "bnp-card");
    card.append(this.makeBar(), ...this.makeSides());
    this.root.append(card);
    this.root.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
      if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey) || event.isComposing) return;
      event.preventDefault();
      this.run();
    });
  }

  close() {
    this.flush();
    this.table.close();
    super.close();
  }

  // ── building ──

  makeBar() {
    const bar = make("div", "bnp-bar");
    const name = input("text", { placeholder: "Prompt without a name", "aria-label": "Name of the prompt", class: "bnp-input bnp-builder-name" });
    this.bind("name", name);
    const tabs = make("div", "bnp-row", { role: "tablist", "aria-label": "Sides of the prompt builder" });
    this.tabs = SIDES.map((side, i) => {
      const tab = button(side, () => this.open(i), {});
      tab.id = `${this.id}-tab-${i}`;
      tab.setAttribute("role", "tab");
      tab.setAttribute("aria-controls", `${this.id}-side-${i}`);
      tabs.append(tab);
      return tab;
    });
    tabs.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
      const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (by) this.open(((this.side ?? 0) + by + SIDES.length) % SIDES.length);
    });
    this.mark = badge("sandbox", "info");
    bar.append(name, this.mark, make("span", "bnp-space"), tabs);
    return bar;
  }

  makeSides() {
    const build = make("div", "bnp-builder-build");
    const halves = make("div", "bnp-builder-halves");
    halves.append(this.makeEditor(), this.makePreview());
    build.append(halves, this.table.node);
    this.sides = [build, this.history.node, this.code.node];
    this.sides.forEach((side, i) => {
      side.id = `${this.id}-side-${i}`;
      side.setAttribute("role", "tabpanel");
      side.setAttribute("aria-labelledby", `${this.id}-tab-${i}`);
    });
    this.side = 0;
    this.open(0, false);
    return this.sides;
  }

  /** @param {number} at @param {boolean} [focus] */
  open(at, focus = true) {
    this.side = at;
    this.tabs?.forEach((tab, i) => {
      tab.setAttribute("aria-selected", String(i === at));
      tab.tabIndex = i === at ? 0 : -1;
      if (focus && i === at) tab.focus();
    });
    this.sides?.forEach((side, i) => (side.hidden = i !== at));
    this.code.open(at === 2);
    if (at === 0) this.table.soon();
  }

  makeEditor() {
    const half = make("div", "bnp-builder-half bnp-stack", { role: "group", "aria-label": "What is asked" });
    this.chips = make("ul", "bnp-row bnp-builder-chips", { "aria-label": "Variables" });
    this.examples = make("ol", "bnp-builder-examples");
    this.exampleHead = make("span", "bnp-label", {}, "Examples");
    const add = button("Add example", () => this.addExample(), { kind: "quiet" });
    const head = make("div", "bnp-row");
    head.append(this.exampleHead, make("span", "bnp-space"), add);
    const examples = make("div", "");
    examples.append(head, this.examples);
    half.append(
      this.field("system", "System", textArea("How the model shall behave. May be left empty.", 1)),
      this.field("user", "Prompt", textArea("What you ask. {city} is filled in from the column city.", 3)),
      this.chips,
      examples,
      this.makeSettings(),
    );
    return half;
  }

  makeSettings() {
    const box = make("details", "bnp-builder-settings");
    this.settings = make("summary", "bnp-label");
    const model = select();
    model.addEventListener("change", () => this.ask("edit", { field: "model", value: model.value }));
    const short = make("div", "bnp-builder-short");
    const number = (/** @type {string} */ mode) => input("text", { inputmode: mode, autocomplete: "off", placeholder: "the model's own" });
    short.append(
      this.field("model", "Model", model),
      this.field("temperature", "Temperature, 0 to 2", number("decimal")),
      this.field("max_tokens", "Max tokens", number("numeric")),
    );
    const schema = textArea('{"type": "object", "properties": {…}}', 2);
    schema.classList.add("bnp-code");
    schema.spellcheck = false;
    this.more = make("div", "bnp-hint");
    const all = make("div", "bnp-stack");
    all.append(
      short,
      this.field("schema", "Schema of the answer, as JSON schema", schema),
      this.field("notes", "Notes, kept in the file and never sent", textArea("", 1)),
      this.more,
    );
    box.append(this.settings, all);
    return box;
  }

  makePreview() {
    const half = make("div", "bnp-builder-half bnp-builder-seen bnp-stack", { role: "group", "aria-label": "What is sent, and the answer" });
    const move = (/** @type {number} */ by) => () => this.move(by);
    this.place = make("span", "bnp-label bnp-figures");
    this.back = button("‹", move(-1), { kind: "quiet", name: "Previous row" });
    this.on = button("›", move(1), { kind: "quiet", name: "Next row" });
    this.price = make("span", "bnp-quiet bnp-figures");
    const head = make("div", "bnp-row");
    head.append(this.place, this.back, this.on, make("span", "bnp-space"), this.price);
    this.messages = make("ol", "bnp-builder-messages");
    this.trouble = make("div", "");
    this.runRow = button("Run row", () => this.run(), { kind: "primary", title: "Ctrl+Enter or ⌘+Enter" });
    this.halt = button("Stop", () => this.mirror.urge("stop").catch(() => {}), { kind: "danger" });
    const keys = make("span", "bnp-quiet", {}, "Ctrl+Enter");
    const line = make("div", "bnp-row");
    line.append(this.runRow, this.halt, keys);
    this.answer = make("div", "bnp-builder-answer bnp-stack", { role: "group", "aria-label": "Answer" });
    half.append(head, this.messages, this.trouble, line, this.problem, this.answer);
    return half;
  }

  /** A field of the prompt, with a place for what is wrong with it. @param {string} name @param {string} label @param {any} node */
  field(name, label, node) {
    node.id = `${this.id}-${name}`;
    const box = field(label, node);
    const wrong = make("div", "bnp-builder-wrong", { id: `${this.id}-wrong-${name}`, hidden: "" });
    node.setAttribute("aria-describedby", wrong.id);
    box.append(wrong);
    if (name === "model") this.fields[name] = { node, wrong };
    else this.bind(name, node, wrong);
    return box;
  }

  /** @param {string} name @param {any} node @param {HTMLElement} [wrong] */
  bind(name, node, wrong = make("div", "")) {
    this.fields[name] = { node, wrong };
    this.draft(node, () => this.tree.fields[name], (value) => this.ask("edit", { field: name, value }));
  }

  /**
   * Send what is typed into a field when the hand rests, when the focus leaves, and before anything is run.
   * @param {any} node @param {() => string} known @param {(value: string) => void} send
   */
  draft(node, known, send) {
    const call = later(() => {
      this.drafts.delete(call);
      if (known() !== node.value) send(node.value);
    }, PAUSE);
    node.addEventListener("input", () => {
      this.drafts.add(call);
      call();
    });
    node.addEventListener("blur", () => call.now());
  }

  /** Have the kernel hear everything that was typed. */
  flush() {
    for (const call of [...this.drafts]) call.now();
  }

  // ── doing ──

  run() {
    this.problem.replaceChildren();
    this.flush();
    this.table.settle();
    return this.ask("run", { rows: [this.tree.selected] });
  }

  /** @param {number} by */
  move(by) {
    const row = this.tree.rows[this.at() + by];
    if (row) this.ask("select", { row: row.id });
  }

  at() {
    return this.tree.rows.findIndex((/** @type {any} */ row) => row.id === this.tree.selected);
  }

  async addExample() {
    await this.ask("example_add");
    const areas = this.examples?.lastElementChild?.querySelectorAll("textarea");
    areas?.[0].focus();
  }

  /** @param {string} what @param {Record<string, unknown>} [args] */
  ask(what, args = {}) {
    return this.mirror.ask(what, args).catch((error) => {
      this.problem.replaceChildren(errorCard(error.trouble ?? { message: String(error) }));
    });
  }

  // ── showing ──

  /** @param {Patch[] | null} patches */
  show(patches) {
    const { tree } = this;
    if (!tree.fields) return;
    if (this.mark) this.mark.hidden = !tree.sandbox;
    if (["fields", "invalid", "models", "more"].some((key) => touches(patches, key))) this.showFields();
    if (touches(patches, "variables") || touches(patches, "selected")) this.showChips();
    if (touches(patches, "examples")) this.showExamples();
    if (["preview", "rows", "selected"].some((key) => touches(patches, key))) this.showPreview();
    if (["answer", "version", "sandbox"].some((key) => touches(patches, key))) this.showAnswer();
    if (touches(patches, "run") && this.halt) this.halt.hidden = !tree.run.on;
    if (touches(patches, "versions") && this.tabs) setText(this.tabs[1], `History${tree.versions.length ? ` (${tree.versions.length})` : ""}`);
    this.table.show(patches);
    this.history.show(patches);
    this.code.show(patches);
  }

  showFields() {
    const { fields, invalid, models } = this.tree;
    for (const [name, { node, wrong }] of Object.entries(this.fields)) {
      if (name === "model") fillSelect(node, models.map((/** @type {string} */ value) => ({ value })), fields.model);
      else setValue(node, fields[name]);
      const why = invalid[name] ?? "";
      setText(wrong, why);
      wrong.hidden = !why;
      if (why) node.setAttribute("aria-invalid", "true");
      else node.removeAttribute("aria-invalid");
    }
    const set = [fields.model];
    if (fields.temperature) set.push(`temperature ${fields.temperature}`);
    if (fields.max_tokens) set.push(`max ${fields.max_tokens} tokens`);
    if (fields.schema) set.push("schema");
    const wrong = Object.entries(SETTINGS).filter(([name]) => invalid[name]).map(([, label]) => label);
    if (this.settings) setText(this.settings, `Settings: ${set.join(" · ")}${wrong.length ? ` (look at: ${wrong.join(", ")})` : ""}`);
    if (this.more) setText(this.more, this.tree.more ? `Sent as well: ${this.tree.more}` : "");
  }

  showChips() {
    if (!this.chips) return;
    this.chips.hidden = !this.tree.variables.length;
    const go = (/** @type {string} */ name) => () => this.table.focusCell(this.at(), name);
    matchList(
      this.chips,
      this.tree.variables,
      (/** @type {any} */ each) => each.name,
      (/** @type {any} */ each) => {
        const item = make("li", "");
        item.append(button("", go(each.name), { kind: "quiet" }));
        return item;
      },
      (item, /** @type {any} */ each) => {
        const chip = /** @type {HTMLElement} */ (item.firstChild);
        chip.className = `bnp-button bnp-builder-chip bnp-builder-${each.there ? "there" : "missing"}`;
        setText(chip, each.there ? `{${each.name}} ✓` : `{${each.name}} missing`);
        chip.title = each.there ? "Go to its value in this row" : "It has no value in this row: go there and write one";
      },
    );
  }

  showExamples() {
    const list = this.examples;
    if (!list) return;
    /** @type {any[]} */
    const examples = this.tree.examples;
    setText(this.exampleHead ?? list, examples.length ? `Examples (${examples.length})` : "Examples");
    const focused = focusIn(list);
    const held = focused && list.contains(focused);
    matchList(list, examples, (each) => String(each.id), (each) => this.makeExample(each.id), (node, each, i) => {
      const [user, wanted] = [...node.querySelectorAll("textarea")];
      setValue(user, each.user);
      setValue(wanted, each.assistant);
      const names = [`Move example ${i + 1} up`, `Move example ${i + 1} down`, `Remove example ${i + 1}`];
      [...node.querySelectorAll("button")].forEach((one, k) => one.setAttribute("aria-label", names[k]));
      user.setAttribute("aria-label", `Example ${i + 1}: user`);
      wanted.setAttribute("aria-label", `Example ${i + 1}: the answer wanted`);
    });
    // A node that is moved loses the focus.
    if (held && focused.isConnected && focusIn(list) !== focused) focused.focus();
  }

  /** @param {number} id */
  makeExample(id) {
    const node = make("li", "bnp-builder-example");
    const known = (/** @type {string} */ part) => () => this.tree.examples.find((/** @type {any} */ each) => each.id === id)?.[part];
    const texts = ["user", "assistant"].map((part) => {
      const area = textArea(part === "user" ? "A question" : "The answer that you want", 1);
      this.draft(area, known(part), (value) => this.ask("example_edit", { id, part, value }));
      return area;
    });
    const tools = make("div", "bnp-builder-tools");
    const move = (/** @type {number} */ by) => () => {
      this.flush();
      this.ask("example_move", { id, by });
    };
    const drop = async () => {
      await this.ask("example_drop", { id });
      announce("The example was removed.");
    };
    tools.append(button("↑", move(-1), { kind: "quiet" }), button("↓", move(1), { kind: "quiet" }), button("×", drop, { kind: "quiet" }));
    const both = make("div", "bnp-builder-pair");
    both.append(...texts);
    node.append(both, tools);
    return node;
  }

  showPreview() {
    const { preview, rows } = this.tree;
    if (!this.messages || !this.trouble || !this.place || !this.price || !this.runRow || !this.back || !this.on) return;
    const at = this.at();
    setText(this.place, rows.length > 1 ? `Preview of row ${at + 1} of ${rows.length.toLocaleString("en")}` : "Preview");
    this.back.hidden = this.on.hidden = rows.length < 2;
    this.back.disabled = at <= 0;
    this.on.disabled = at >= rows.length - 1;
    const tokens = preview.messages ? `≈ ${count(preview.tokens, "token")}${preview.price ? ` · ≈ ${preview.price}` : ""}` : "";
    setText(this.price, tokens);
    this.price.title = tokens ? "By estimate: the tokens that are sent; what calls to this model have cost, an answer of the usual length included." : "";
    matchList(
      this.messages,
      preview.messages ?? [],
      (_, i) => String(i),
      () => {
        const item = make("li", "bnp-builder-message");
        item.append(make("div", "bnp-builder-role"), make("div", "bnp-builder-content", { dir: "auto" }));
        return item;
      },
      (item, /** @type {any} */ message) => {
        item.dataset.role = message.role;
        setText(item.children[0], message.role);
        setText(item.children[1], message.content);
      },
    );
    const words = JSON.stringify(preview.trouble ?? preview.empty ?? null);
    if (this.trouble.dataset.known !== words) {
      this.trouble.dataset.known = words;
      const { message = "", todo = "" } = preview.trouble ?? {};
      const shown = make("div", "bnp-builder-hitch", {}, message);
      if (todo) shown.append(make("div", "bnp-quiet", {}, todo));
      const empty = make("div", "bnp-empty", {}, "Write a prompt: what is sent for a row appears here, word for word.");
      this.trouble.replaceChildren(...(preview.empty ? [empty] : preview.trouble ? [shown] : []));
    }
    this.runRow.disabled = !preview.messages;
    setText(this.runRow, rows.length > 1 ? `Run row ${at + 1}` : "Run");
  }

  showAnswer() {
    const box = this.answer;
    if (!box) return;
    const { answer, version, sandbox } = this.tree;
    box.hidden = !answer;
    // The stars are patched, so that a score that is given keeps the focus on its star.
    const body = JSON.stringify({ ...answer, score: 0, v: version, s: sandbox });
    if (this.drawn !== body) {
      this.drawn = body;
      this.stars = undefined;
      box.replaceChildren(...(answer ? this.makeAnswer(answer) : []));
    }
    this.stars?.forEach((star, i) => {
      const on = i < (answer?.score ?? 0);
      setText(star, on ? "★" : "☆");
      star.setAttribute("aria-pressed", String(i + 1 === answer?.score));
    });
  }

  /** @param {any} answer */
  makeAnswer(answer) {
    const head = make("div", "bnp-row");
    head.append(make("span", "bnp-label", {}, "Answer"));
    if (answer.version && answer.version !== this.tree.version) head.append(badge(`from version ${answer.version}`, "warn"));
    if (answer.old) head.append(badge("the row has changed since", "warn"));
    const out = [head];
    if (answer.state === "asking") {
      out.push(make("div", "bnp-quiet", {}, "Waiting for the answer …"));
      if (!answer.row) return out;
    }
    if (answer.trouble) out.push(errorCard(answer.trouble, () => this.run()));
    if (answer.parts?.length) out.push(this.makeParts(answer.parts));
    else if (answer.text !== undefined) {
      const prose = make("div", "bnp-prose", { dir: "auto" });
      new GrowingMarkdown(prose).draw(answer.text || "(an empty answer)", false);
      out.push(prose);
    }
    const facts = make("div", "bnp-row bnp-figures");
    // Where the whole builder says so, each answer need not.
    if (answer.sandbox && !this.tree.sandbox) facts.append(badge("sandbox", "info"));
    for (const [value, unit] of [[answer.model, ""], [answer.tokens, " tokens"], [answer.credits, " credits"], [answer.time, ""]])
      if (value) facts.append(badge(`${value}${unit}`));
    if (answer.cut) facts.append(badge(answer.cut, "warn"));
    if (answer.request_id && !answer.trouble) facts.append(requestId(answer.request_id));
    out.push(facts);
    if (answer.state !== "asking") out.push(this.makeStars());
    return out;
  }

  /** @param {[string, string][]} parts */
  makeParts(parts) {
    const table = make("table", "bnp-table");
    for (const [name, value] of parts) {
      const line = make("tr", "");
      line.append(make("th", "", { scope: "row", dir: "auto" }, name), make("td", "", { dir: "auto" }, value));
      table.append(line);
    }
    return table;
  }

  makeStars() {
    const row = make("div", "bnp-row bnp-builder-stars", { role: "group", "aria-label": "Your score" });
    row.append(make("span", "bnp-quiet", {}, "Your score"));
    this.stars = [1, 2, 3, 4, 5].map((score) => {
      const give = () => this.ask("score", { row: this.tree.selected, score: this.tree.answer?.score === score ? null : score });
      const star = button("☆", give, { kind: "quiet", name: `${score} of 5` });
      row.append(star);
      return star;
    });
    return row;
  }
}

export default panel((mirror, el) => new View(mirror, el));
