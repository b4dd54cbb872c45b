/**
 * The page's half of a music studio (the kernel's half: interact/music_studio.py): the form, and the takes beside it.
 *
 * What is typed stays the page's until the kernel has heard it; everything else is what the kernel says.
 */
import { announce, make } from "./server.js";
import { PanelView, badge, button, errorCard, field, fillSelect, hasFocus, input, later, matchList, panel, select, setText, setValue, textArea, touches } from "./panel.js";
import { SoundView, Sounds } from "./studio_player.js";
import { CardView, CompareView } from "./studio_cards.js";
import { hasWords, sectionAt, toggleWords } from "./studio_words.js";

const PART = 512 * 1024; // bytes of a file in one message
const MOST = 100 * 1024 * 1024; // bytes that an upload takes
const TYPED = 250; // milliseconds of rest after which the kernel hears what was typed
const ONE_PRESS = 800; // milliseconds in which a second press is the first one's echo

class Studio extends PanelView {
  /** @param {any} mirror @param {HTMLElement} el */
  constructor(mirror, el) {
    super(mirror, el, "bnp-studio", "Music studio");
    this.sounds = new Sounds(mirror);
    /** @type {Map<string, any>} what was filled in and not told yet */
    this.typed = new Map();
    /** @type {Map<string, number>} what was told and not answered yet */
    this.told = new Map();
    /** @type {Map<string, {input: any, error: HTMLElement}>} */
    this.fields = new Map();
    /** @type {Map<string, CardView>} */
    this.cards = new Map();
    this.upload = "";
    this.fileKey = "";
    this.hold = false;
    this.prompt = textArea("a style, a mood, instruments, a picture in words …", 2);
    this.lyrics = textArea("[Verse]\nwords to be sung, if any …", 3);
    this.titled = input("text", { placeholder: "left to the service", dir: "auto" });
    this.model = select();
    this.silent = make("input", "", { type: "checkbox", role: "switch" });
    this.heard = new SoundView(this.sounds, "reference");
    this.choose = button("Choose audio …", () => {});
    this.remove = button("Remove", () => this.leaveFile(), { kind: "quiet", name: "Remove the reference" });
    this.create = button("Create", () => void this.press(), { kind: "primary" });
    this.compare = new CompareView(mirror, (id) => this.cards.get(String(id).split(".")[0])?.takes.get(id));
    this.send = later(() => this.flush(), TYPED);
    const card = make("div", "bnp-card");
    const bar = make("div", "bnp-bar");
    this.sandbox = badge("sandbox", "info");
    this.balance = make("span", "bnp-quiet bnp-figures");
    bar.append(make("span", "bnp-title", {}, "Music studio"), this.sandbox, make("span", "bnp-space"), this.balance);
    const body = make("div", "bnp-studio-body");
    body.append(this.buildForm(), this.buildTakes());
    card.append(bar, body);
    this.root.append(card);
    this.ticking = setInterval(() => this.cards.forEach((each) => each.tick()), 500);
    this.root.addEventListener("focusout", () => this.fill());
    this.catchFiles();
  }

  // ── building, once ──

  buildForm() {
    const form = make("div", "bnp-stack bnp-studio-form", { role: "group", "aria-label": "What to make" });
    form.append(this.place("prompt", "Prompt", this.prompt));
    this.chips = make("div", "bnp-stack bnp-studio-chips");
    form.append(this.chips, this.buildLyrics());
    const pair = make("div", "bnp-studio-pair");
    pair.append(this.place("title", "Title", this.titled), this.place("model", "Model", this.model));
    this.options = make("div", "bnp-studio-pair");
    this.rest = make("div", "bnp-hint");
    form.append(pair, this.options, this.rest, this.buildReference(), this.buildCreate());
    return form;
  }

  buildLyrics() {
    const node = this.place("lyrics", "Lyrics", this.lyrics);
    this.sections = make("div", "bnp-row", { role: "group", "aria-label": "Insert a section" });
    const label = make("label", "bnp-row bnp-studio-switch");
    label.append(this.silent, make("span", "", {}, "Instrumental"));
    this.silent.addEventListener("change", () => this.take("instrumental", this.silent.checked ? true : null));
    const row = make("div", "bnp-row");
    row.append(this.sections, make("span", "bnp-space"), label);
    this.kept = make("div", "bnp-hint", {}, "The lyrics are kept, and not sent: nobody sings.");
    node.append(row, this.kept);
    return node;
  }

  buildReference() {
    const node = make("div", "bnp-field", { role: "group", "aria-label": "Reference audio" });
    const pick = make("input", "", { type: "file", accept: "audio/*", hidden: "", tabindex: "-1", "aria-label": "Reference audio file" });
    pick.addEventListener("change", () => {
      if (pick.files?.[0]) void this.bring(pick.files[0]);
      pick.value = "";
    });
    this.choose.addEventListener("click", () => pick.click());
    this.drop = make("div", "bnp-studio-drop bnp-row");
    this.drop.append(this.choose, make("span", "bnp-quiet", {}, "or drop a file here: the music will follow it"), pick);
    this.file = make("div", "bnp-studio-file", { hidden: "" });
    const head = make("div", "bnp-row");
    this.fileName = make("span", "bnp-title bnp-studio-title", { dir: "auto" });
    head.append(this.fileName, this.remove);
    this.fileFacts = make("div", "bnp-quiet bnp-figures");
    this.file.append(head, this.fileFacts, this.heard.root);
    const wrong = make("div", "bnp-studio-wrong", { id: `${this.prompt.id}-reference`, hidden: "" });
    this.choose.setAttribute("aria-describedby", wrong.id);
    this.fields.set("reference", { input: this.choose, error: wrong });
    node.append(make("div", "bnp-label", {}, "Reference audio"), this.drop, this.file, wrong);
    return node;
  }

  buildCreate() {
    const node = make("div", "bnp-stack bnp-studio-go");
    // A key that is held down is one press.
    this.create.addEventListener("keydown", (event) => event.repeat && event.preventDefault());
    this.price = make("span", "bnp-quiet");
    const row = make("div", "bnp-row");
    row.append(this.create, this.price);
    this.trouble = make("div", "");
    node.append(row, this.trouble);
    return node;
  }

  buildTakes() {
    const node = make("div", "bnp-stack bnp-studio-made", { role: "group", "aria-label": "Takes" });
    this.list = make("div", "bnp-stack");
    this.empty = make("div", "bnp-empty", {}, "What is made appears here: players, side by side, to listen and compare.");
    node.append(this.compare.root, this.list, this.empty);
    node.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
      if (event.key.toLowerCase() !== "x" || event.ctrlKey || event.metaKey || event.altKey) return;
      if (this.compare.press.disabled) return;
      event.preventDefault();
      void this.compare.switch();
    });
    return node;
  }

  /**
   * A field with a place for what is wrong with it.
   * @param {string} name @param {string} label @param {any} node @param {string} [hint]
   */
  place(name, label, node, hint = "") {
    const whole = field(label, node, hint);
    const error = make("div", "bnp-studio-wrong", { id: `${node.id}-wrong`, hidden: "" });
    node.setAttribute("aria-describedby", [node.getAttribute("aria-describedby"), error.id].filter(Boolean).join(" "));
    const value = () => (node.type === "checkbox" ? node.checked || null : node.value);
    node.addEventListener(node.type === "checkbox" || node.localName === "select" ? "change" : "input", () => this.take(name, value()));
    whole.append(error);
    this.fields.set(name, { input: node, error });
    return whole;
  }

  // ── what a hand does ──

  /** Take what was filled in, and tell the kernel in a moment. @param {string} name @param {any} value */
  take(name, value) {
    this.typed.set(name, value);
    if (name === "prompt") this.drawChips();
    if (name === "instrumental") this.drawLyrics();
    if (typeof value === "string" && name !== "model") this.send();
    else this.flush();
  }

  flush() {
    if (!this.typed.size) return;
    const values = Object.fromEntries(this.typed);
    this.typed.clear();
    const names = Object.keys(values);
    for (const name of names) this.told.set(name, (this.told.get(name) ?? 0) + 1);
    this.mirror
      .ask("change", { values })
      .catch((/** @type {any} */ error) => this.complain(error))
      .finally(() => {
        for (const name of names) {
          const left = (this.told.get(name) ?? 1) - 1;
          if (left) this.told.set(name, left);
          else this.told.delete(name);
        }
        this.fill();
      });
  }

  async press() {
    if (this.hold || this.tree.sending) return;
    this.hold = true;
    this.drawCreate();
    this.trouble.replaceChildren();
    this.send.now();
    const rest = new Promise((resolve) => setTimeout(resolve, ONE_PRESS));
    try {
      await this.mirror.ask("create", { press: Math.random().toString(36).slice(2) + Date.now().toString(36) });
    } catch (error) {
      const wrong = [...this.fields.values()].find(({ error: node }) => !node.hidden);
      if (wrong) wrong.input.focus();
      else this.complain(/** @type {any} */ (error));
      announce(/** @type {Error} */ (error).message);
    }
    await rest;
    this.hold = false;
    this.drawCreate();
  }

  /** @param {any} error */
  complain(error) {
    this.trouble.replaceChildren(errorCard(error.trouble ?? { message: error.message }));
  }

  /** @param {string} section */
  insert(section) {
    const area = this.lyrics;
    const at = area.selectionEnd ?? area.value.length;
    area.focus();
    area.setRangeText(sectionAt(area.value, at, section), at, at, "end");
    this.take("lyrics", area.value);
  }

  // ── the reference ──

  catchFiles() {
    const carries = (/** @type {DragEvent} */ event) => event.dataTransfer?.types.includes("Files");
    // All over the panel: a file that misses its place by an inch must not replace the page.
    for (const name of ["dragenter", "dragover"]) {
      this.root.addEventListener(name, (/** @type {any} */ event) => {
        if (!carries(event)) return;
        event.preventDefault();
        event.stopPropagation();
        this.drop.classList.add("bnp-studio-over");
      });
    }
    this.root.addEventListener("dragleave", (/** @type {any} */ event) => {
      if (!this.root.contains(event.relatedTarget)) this.drop.classList.remove("bnp-studio-over");
    });
    this.root.addEventListener("drop", (/** @type {any} */ event) => {
      if (!carries(event)) return;
      event.preventDefault();
      event.stopPropagation();
      this.drop.classList.remove("bnp-studio-over");
      if (event.dataTransfer.files[0]) void this.bring(event.dataTransfer.files[0]);
    });
  }

  /** Bring a file to the kernel, part by part. @param {File} file */
  async bring(file) {
    const upload = Math.random().toString(36).slice(2);
    this.upload = upload;
    this.heard.reset();
    if (file.size > MOST) {
      this.complain({ message: `${file.name} has ${Math.ceil(file.size / 1e6)} MB, and an upload takes 100 MB.` });
      return;
    }
    this.trouble.replaceChildren();
    this.sounds.give("reference", file); // it is here already: nothing needs to come back to be heard
    const held = hasFocus(this.choose);
    try {
      for (let at = 0; at === 0 || at < file.size; at += PART) {
        if (this.upload !== upload) return;
        const part = await file.slice(at, at + PART).arrayBuffer();
        await this.mirror.ask("reference_part", { upload, at, size: file.size, name: file.name }, [part]);
      }
      if (held) this.remove.focus();
    } catch (error) {
      if (this.upload === upload && !this.tree.problems.reference) this.complain(error);
    }
  }

  leaveFile() {
    this.upload = "";
    this.heard.reset();
    this.mirror.ask("reference_drop").then(() => this.choose.focus(), () => {});
  }

  // ── drawing ──

  /** @param {any} patches */
  show(patches) {
    const { tree } = this;
    this.sandbox.hidden = !tree.sandbox;
    setText(this.balance, tree.balance ? `${tree.balance} left` : "");
    if (touches(patches, "models")) fillSelect(this.model, this.modelsWith(tree.form.model), tree.form.model);
    if (touches(patches, "fields")) this.drawOptions();
    if (touches(patches, "form") || touches(patches, "fields")) this.fill();
    if (touches(patches, "problems") || touches(patches, "fields")) this.drawProblems();
    if (touches(patches, "reference")) this.drawReference();
    setText(this.rest, tree.rest ? `Sent as well: ${tree.rest}` : "");
    this.rest.hidden = !tree.rest;
    this.drawCreate();
    if (touches(patches, "cards") || touches(patches, "marks") || touches(patches, "diff")) this.drawTakes(patches);
  }

  /** @param {string} model */
  modelsWith(model) {
    return [...new Set([...this.tree.models, model])].map((value) => ({ value }));
  }

  /** What the form says, where nobody is filling it in. */
  fill() {
    const { form } = this.tree;
    /** @param {string} name */
    const mine = (name) => this.typed.has(name) || this.told.has(name);
    for (const [name, node] of /** @type {[string, any][]} */ ([["prompt", this.prompt], ["lyrics", this.lyrics], ["title", this.titled]])) {
      if (!mine(name)) setValue(node, form[name]);
    }
    if (!mine("model")) fillSelect(this.model, this.modelsWith(form.model), form.model);
    if (!mine("instrumental")) this.silent.checked = form.instrumental === true;
    for (const { id } of this.tree.fields) {
      const node = this.fields.get(id)?.input;
      if (!node || mine(id)) continue;
      if (node.type === "checkbox") node.checked = form.options[id] === true;
      else setValue(node, form.options[id] ?? "");
    }
    this.drawChips();
    this.drawLyrics();
  }

  drawChips() {
    matchList(this.chips, this.tree.chips, ([label]) => label, ([label, words]) => this.buildChips(label, words));
    for (const node of /** @type {any[]} */ ([...this.chips.querySelectorAll(".bnp-chip")])) {
      node.setAttribute("aria-pressed", String(hasWords(this.prompt.value, node.textContent)));
    }
  }

  /** A row of chips: one stop for the Tab key, arrows within. @param {string} label @param {string[]} words */
  buildChips(label, words) {
    const row = make("div", "bnp-studio-group", { role: "toolbar", "aria-label": label });
    row.append(make("span", "bnp-label", { "aria-hidden": "true" }, label));
    const nodes = words.map((text, i) => {
      const node = button(text, () => {
        this.prompt.value = toggleWords(this.prompt.value, text);
        this.take("prompt", this.prompt.value);
      });
      node.classList.add("bnp-chip");
      node.tabIndex = i ? -1 : 0;
      return node;
    });
    const list = make("div", "bnp-row");
    list.append(...nodes);
    row.append(list);
    row.addEventListener("focusin", (/** @type {any} */ event) => {
      if (nodes.includes(event.target)) for (const node of nodes) node.tabIndex = node === event.target ? 0 : -1;
    });
    row.addEventListener("keydown", (/** @type {any} */ event) => {
      const at = nodes.indexOf(event.target);
      const step = { ArrowRight: at + 1, ArrowDown: at + 1, ArrowLeft: at - 1, ArrowUp: at - 1, Home: 0, End: -1 }[/** @type {string} */ (event.key)];
      if (at < 0 || step === undefined) return;
      event.preventDefault();
      nodes.at(step % nodes.length)?.focus();
    });
    return row;
  }

  drawLyrics() {
    const silent = this.silent.checked;
    matchList(this.sections, this.tree.sections, String, (name) => button(`[${name}]`, () => this.insert(String(name)), { kind: "quiet", name: `Insert [${name}]` }));
    for (const node of /** @type {any} */ (this.sections.children)) node.disabled = silent;
    this.lyrics.disabled = silent;
    this.kept.hidden = !silent || !this.lyrics.value;
  }

  drawOptions() {
    const shown = new Set(this.tree.fields.map((/** @type {any} */ each) => each.id));
    for (const name of [...this.fields.keys()]) if (name.includes(".") && !shown.has(name)) this.fields.delete(name);
    matchList(this.options, this.tree.fields, (each) => each.id, ({ id, label, kind, hint }) => {
      const mode = kind === "whole" ? "numeric" : "decimal";
      const node = kind === "switch" ? make("input", "", { type: "checkbox" }) : input("text", { inputmode: mode, placeholder: "left open" });
      return this.place(id, label, node, hint);
    });
    this.options.hidden = !shown.size;
  }

  drawProblems() {
    for (const [name, { input: node, error }] of this.fields) {
      const words = this.tree.problems[name] ?? "";
      setText(error, words);
      error.hidden = !words;
      if (words) node.setAttribute("aria-invalid", "true");
      else node.removeAttribute("aria-invalid");
    }
  }

  drawReference() {
    const now = this.tree.reference;
    this.drop.hidden = Boolean(now);
    this.file.hidden = !now;
    if (now?.upload !== this.upload && this.upload && now?.state === "ready") this.upload = "";
    const key = now ? `${now.upload ?? ""} ${now.name}` : "";
    if (key !== this.fileKey) {
      // Another file than the one that could be heard: its bytes are asked for, unless this page brought it.
      if (!now?.upload || now.upload !== this.upload) this.heard.reset();
      this.fileKey = key;
    }
    if (!now) return;
    setText(this.fileName, now.name);
    const far = { arriving: `${now.percent} %`, reading: "being looked at …" }[/** @type {string} */ (now.state)];
    setText(this.fileFacts, far ?? now.facts.join(" · "));
    this.heard.root.hidden = now.state !== "ready" || !now.kind;
    this.heard.update({ title: now.name, time: "", wave: now.wave ?? "", size: "" });
  }

  drawCreate() {
    const { price, told, sending } = this.tree;
    setText(this.create, price ? `Create · ${price}` : "Create");
    setText(this.price, sending ? "sending …" : told ? told.slice(price.length).replace(/^, /, "") : "The price of this model is not known here.");
    // It keeps the focus while it is sent, so it is not disabled for that: a press does nothing then.
    this.create.setAttribute("aria-disabled", String(this.hold || sending));
    this.create.classList.toggle("bnp-studio-held", this.hold || sending);
  }

  /** @param {any} patches */
  drawTakes(patches) {
    const { cards, marks } = this.tree;
    const order = Object.keys(cards).sort((a, b) => Number(b) - Number(a));
    for (const [key, view] of this.cards) {
      if (key in cards) continue;
      view.close();
      this.cards.delete(key);
    }
    matchList(this.list, order, String, (key) => {
      const view = new CardView(this.sounds, this.mirror, Number(key), () => this.create.focus());
      this.cards.set(key, view);
      return view.root;
    });
    const all = touches(patches, "marks");
    for (const key of order) if (all || touches(patches, "cards", key)) this.cards.get(key)?.update(cards[key], marks);
    this.empty.hidden = order.length > 0;
    this.compare.update(this.tree);
  }

  /** @param {any} message @param {any[]} buffers */
  hears(message, buffers) {
    this.sounds.hears(message, buffers);
  }

  close() {
    this.send.now();
    clearInterval(this.ticking);
    for (const view of this.cards.values()) view.close();
    this.sounds.close();
    super.close();
  }
}

export default panel((mirror, el) => new Studio(mirror, el));
