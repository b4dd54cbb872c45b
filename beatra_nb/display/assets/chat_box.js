/**
 * Chat in a cell (the kernel's half: interact/chat_box.py).
 *
 * The kernel's document holds the turns, and in `live` what is being answered, was stopped or has failed. An answer
 * keeps its number when it becomes a turn, and so its node: nothing jumps when it ends. Of a long conversation the
 * latest turns alone are in the page until somebody asks for more. Drafts stay in this page.
 *
 * @typedef {import("./panel.js").Mirror} Mirror
 * @typedef {import("./panel.js").Patch} Patch
 * @typedef {import("./panel.js").Trouble} Trouble
 * @typedef {{id: number | string, you: string, text?: string, who?: string, facts?: string[], notes?: string[],
 *   request_id?: string, sandbox?: boolean, state?: "asking" | "stopped" | "failed", at?: number, cell?: boolean,
 *   trouble?: Trouble}} Item
 */
import { badge, button, copyText, errorCard, field, fillSelect, later, matchList, panel, PanelView, select, setText, setValue, textArea, touches } from "./panel.js";
import { announce, make } from "./server.js";
import { Pen } from "./pen.js";

const PAGE = 40; // turns that are in the page at first, and that one more press adds: what is laid out in a moment
const NEAR = 32; // pixels from the end that still count as the end
const SYSTEM_AFTER = 500; // milliseconds of quiet after which a system text is told
const HINT = "Enter sends · Shift+Enter breaks the line · Esc stops · ↑ edits the last message";

/** Whether a key press is Enter, meant to send: not one that ends the writing of a character. @param {KeyboardEvent} event */
function sends(event) {
  return event.key === "Enter" && !event.shiftKey && !event.isComposing && event.keyCode !== 229;
}

/** One turn: what was said, and its answer. */
class Said {
  /** @param {ChatView} box */
  constructor(box) {
    this.box = box;
    /** @type {Item | null} */
    this.item = null;
    this.about = ""; // what the small print was made of
    /** @type {HTMLElement | null} */
    this.editor = null;
    this.node = make("article", "bnp-chat-turn");
    this.mine = make("div", "bnp-chat-mine");
    this.bubble = make("div", "bnp-chat-bubble");
    this.bubble.append(make("span", "bnp-offscreen", {}, "You said: "));
    this.you = make("span", "", { dir: "auto" });
    this.bubble.append(this.you);
    this.edit = button("Edit", () => this.openEditor(), { kind: "quiet", name: "Edit this message", title: "Say it differently" });
    this.mine.append(this.edit, this.bubble);
    this.who = make("div", "bnp-chat-who");
    this.prose = make("div", "bnp-prose");
    this.more = make("div", "bnp-chat-more");
    this.facts = make("div", "bnp-chat-facts bnp-quiet bnp-figures");
    this.actions = make("div", "bnp-chat-actions");
    this.again = button("Regenerate", () => box.act("regenerate"), { kind: "quiet", title: "Ask for another answer; this one is replaced" });
    /** @type {HTMLButtonElement} */
    this.copy = button("Copy", () => copyText(this.copy, this.item?.text ?? ""), { kind: "quiet", name: "Copy the answer as markdown" });
    const fork = button("Fork from here", () => box.act("fork", { turn: this.item?.id }), { kind: "quiet", title: "Go on in a copy that ends here; this branch stays as it is" });
    this.actions.append(this.copy, this.again, fork);
    this.foot = make("div", "bnp-chat-foot");
    this.foot.append(this.facts, this.actions);
    this.node.append(this.mine, this.who, this.prose, this.more, this.foot);
    this.pen = new Pen(this.prose);
  }

  /** @param {Item} item @param {boolean} last whether it may be asked again */
  draw(item, last) {
    this.again.hidden = !last;
    if (item === this.item && !item.state) return;
    const asking = item.state === "asking";
    this.item = item;
    setText(this.you, item.you);
    const nothing = item.state !== undefined && !asking && !item.text; // stopped or failed before a word had come
    setText(this.who, item.who ?? (asking ? "Answer" : "Not recorded"));
    this.who.hidden = this.prose.hidden = nothing;
    this.pen.write(item.text ?? "", asking);
    this.edit.hidden = item.state !== undefined;
    this.actions.classList.toggle("bnp-chat-none", item.state !== undefined);
    this.foot.hidden = item.state === "stopped" || item.state === "failed";
    const about = JSON.stringify([item.facts, item.notes, item.request_id, item.sandbox, item.state, item.cell, item.trouble]);
    if (about === this.about) return;
    this.about = about;
    this.facts.replaceChildren(...this.factsOf(item));
    this.more.replaceChildren(...this.moreOf(item));
  }

  /** @param {Item} item @returns {HTMLElement[]} */
  factsOf(item) {
    if (item.state === "asking") {
      const words = item.cell ? "asked by a cell: the answer comes when it is whole" : "writing…";
      return [make("span", "", {}, words)];
    }
    if (item.state) return [];
    const nodes = (item.facts ?? []).map((fact) => make("span", "", {}, fact));
    // Where the whole box says so, each answer need not.
    if (item.sandbox && !this.box.tree.sandbox) nodes.unshift(badge("sandbox", "info"));
    if (item.request_id) nodes.push(make("code", "bnp-id", { title: "request id" }, item.request_id));
    return nodes;
  }

  /** What stands below the text: notes, or what became of an answer that is not recorded. @param {Item} item @returns {HTMLElement[]} */
  moreOf(item) {
    const nodes = (item.notes ?? []).map((note) => make("div", "bnp-chat-note", { dir: "auto" }, note));
    if (item.state !== "stopped" && item.state !== "failed") return nodes;
    const row = make("div", "bnp-row");
    if (item.trouble) nodes.push(errorCard(item.trouble));
    else row.append(badge("stopped", "warn"));
    const words = item.text ? "This is not the whole answer, and it is not part of the conversation." : "Nothing was recorded.";
    row.append(make("span", "bnp-quiet", {}, words));
    // Where the card says that the same call would fail again, the button must not say the contrary.
    const label = item.trouble?.retryable === false ? "Send again" : "Try again";
    const retry = button(label, () => this.box.act("retry"), { title: "Say the same words again" });
    row.append(retry, button("Dismiss", () => this.box.act("dismiss"), { kind: "quiet", name: "Dismiss this attempt" }));
    nodes.push(row);
    return nodes;
  }

  /** Let the reader say it differently, in its place. @param {string} [text] */
  openEditor(text) {
    if (this.editor) return;
    const area = textArea("", 1);
    area.setAttribute("aria-label", "Edit the message");
    area.value = text ?? this.item?.you ?? "";
    const send = () => {
      if (!area.value.trim()) return;
      const turn = this.item?.id;
      this.closeEditor();
      this.box.act("edit", { turn, text: area.value });
    };
    area.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && !event.isComposing) {
        event.stopPropagation();
        event.preventDefault();
        this.closeEditor();
      } else if (sends(event)) {
        event.preventDefault();
        send();
      }
    });
    const row = make("div", "bnp-row");
    row.append(button("Send", send, { kind: "primary", name: "Send the edited message" }), button("Cancel", () => this.closeEditor()));
    row.append(make("span", "bnp-quiet", {}, "This turn and all after it are replaced once the new answer is whole."));
    const editor = make("div", "bnp-chat-editor bnp-stack");
    editor.append(area, row);
    this.editor = editor;
    this.mine.hidden = true;
    this.mine.after(editor);
    area.focus();
    area.setSelectionRange(area.value.length, area.value.length);
  }

  closeEditor() {
    this.editor?.remove();
    this.editor = null;
    this.mine.hidden = false;
    this.box.input.focus({ preventScroll: true });
  }
}

class ChatView extends PanelView {
  /** @param {Mirror} mirror @param {HTMLElement} el */
  constructor(mirror, el) {
    super(mirror, el, "bnp-chat", "Chat");
    /** @type {Map<string, Said>} */
    this.said = new Map();
    this.first = 0; // of the turns that are in the page
    this.branch = -1;
    this.stuck = true; // the reader is at the end, and stays there
    this.top = 0; // how far down the reader was last
    /** @type {Item | null} */
    this.pending = null; // said, and not heard yet by a kernel that may be busy
    /** @type {Item | null | undefined} */
    this.before = undefined; // what was live when it was drawn last
    /** @type {Said | null} */
    this.made = null;
    this.sent = 0;
    this.title = make("span", "bnp-title bnp-chat-title", { dir: "auto" });
    this.mark = badge("sandbox", "info");
    this.branches = select({ "aria-label": "Branch of the conversation" });
    this.model = select({ "aria-label": "Model" });
    this.who = make("span", "bnp-quiet bnp-chat-resolved");
    /** @type {HTMLButtonElement} */
    this.copyAll = button("Copy all", () => copyText(this.copyAll, this.markdown()), { kind: "quiet", name: "Copy all of the conversation as markdown" });
    this.gist = make("span", "bnp-quiet");
    this.system = textArea("How the model shall behave, such as: You answer in one short sentence.", 2);
    this.tellSystem = later(() => this.ask("system", { text: this.system.value }), SYSTEM_AFTER);
    this.log = make("div", "bnp-chat-log", { role: "log", "aria-live": "off", "aria-label": "Conversation", tabindex: "0" });
    this.earlier = button("", () => this.showEarlier(), { kind: "quiet" });
    this.empty = make("div", "bnp-empty");
    this.turns = make("div", "bnp-chat-turns");
    this.latest = button("↓ Latest", () => this.toEnd(), { name: "Go to the latest message" });
    this.input = textArea("Write a message…", 1);
    this.send = button("Send", () => this.submit(), { kind: "primary" });
    this.stop = button("Stop", () => this.halt(), { kind: "danger", title: "Stop the answer (Esc)" });
    this.says = make("div", "bnp-quiet bnp-chat-says", { role: "status" });
    const card = make("div", "bnp-card");
    card.append(this.head(), this.systemFold(), this.frame(), this.composer());
    this.root.append(card);
    this.listen();
    // Whatever grows, and whenever it is laid out: told before it is painted, and without asking for a layout.
    this.sizes = new ResizeObserver(() => this.follow());
    this.sizes.observe(this.turns);
    this.sizes.observe(this.log);
  }

  close() {
    this.sizes.disconnect();
    for (const said of this.said.values()) said.pen.lift();
    super.close();
  }

  head() {
    const bar = make("div", "bnp-bar");
    bar.append(this.title, this.mark, this.branches, make("span", "bnp-space"), this.model, this.who, this.copyAll);
    return bar;
  }

  systemFold() {
    const fold = make("details", "bnp-chat-system");
    const summary = make("summary", "");
    summary.append(make("span", "bnp-label", {}, "System text"), this.gist);
    const hint = "It counts from the next message on, for all of the conversation.";
    fold.append(summary, field("What the model is told before everything else", this.system, hint));
    return fold;
  }

  frame() {
    const frame = make("div", "bnp-chat-frame");
    this.earlier.classList.add("bnp-chat-earlier");
    this.latest.classList.add("bnp-chip", "bnp-chat-latest");
    this.empty.append(make("div", "bnp-chat-hello", {}, "What would you like to know?"), make("div", "", {}, HINT));
    this.log.append(this.earlier, this.empty, this.turns);
    frame.append(this.log, this.latest);
    return frame;
  }

  composer() {
    const foot = make("div", "bnp-chat-composer");
    this.input.setAttribute("aria-label", "Message");
    const row = make("div", "bnp-chat-row");
    row.append(this.input, this.send, this.stop);
    foot.append(row, this.says);
    return foot;
  }

  listen() {
    this.branches.addEventListener("change", () => this.act("switch", { branch: Number(this.branches.value) }));
    this.model.addEventListener("change", () => this.act("model", { name: this.model.value }, this.model));
    this.system.addEventListener("input", this.tellSystem);
    this.system.addEventListener("blur", () => this.tellSystem.now());
    this.log.addEventListener("scroll", () => this.scrolled(), { passive: true });
    this.root.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => this.pressed(event));
  }

  // ── drawing ──

  /** @param {Patch[] | null} patches */
  show(patches) {
    if (patches?.length && patches.every(([kind, at]) => kind === "grow" && at[0] === "live")) {
      this.grow();
      return;
    }
    const held = this.holdsFocus();
    const { title, sandbox, branches, branch, models, model, system, turns } = this.tree;
    setText(this.title, title ?? "");
    this.mark.hidden = !sandbox;
    this.branches.hidden = !(branches?.length > 1);
    fillSelect(this.branches, (branches ?? []).map((/** @type {string} */ label, /** @type {number} */ i) => ({ value: String(i), label })), String(branch));
    const names = models?.includes(model) ? models : [...(models ?? []), model];
    fillSelect(this.model, names.map((/** @type {string} */ value) => ({ value })), model);
    const answered = turns?.at(-1)?.who;
    setText(this.who, model === "auto" && answered && answered !== "auto" ? `→ ${answered}` : "");
    setValue(this.system, system ?? "");
    setText(this.gist, system ? system.slice(0, 200) : "none");
    if (touches(patches, "turns") || touches(patches, "live") || touches(patches, "branch")) this.drawTurns();
    this.tellEnds();
    if (held && !this.holdsFocus()) this.input.focus({ preventScroll: true });
  }

  /** The usual case while an answer comes: more text, and nothing else. */
  grow() {
    const { live } = this.tree;
    const said = this.said.get(String(live?.id));
    if (!said) return;
    said.pen.write(live.text, true);
  }

  drawTurns() {
    const turns = /** @type {Item[]} */ (this.tree.turns ?? []);
    const live = /** @type {Item | null} */ (this.tree.live);
    const asking = live?.state === "asking";
    if (this.branch !== this.tree.branch || this.first > turns.length) {
      this.branch = this.tree.branch;
      this.first = Math.max(0, turns.length - PAGE);
      this.stuck = true;
    } else if (this.stuck && turns.length - this.first > 3 * PAGE) {
      this.first = turns.length - PAGE; // what has grown long is folded again, out of the reader's sight
    }
    // What is being replaced makes room for its successor, and comes back if that fails.
    const items = turns.slice(this.first, asking ? live.at : undefined);
    if (live && turns.at(-1)?.id !== live.id) items.push(live);
    if (this.pending && !asking) items.push(this.pending);
    /** @type {Map<string, Said>} */
    const kept = new Map();
    matchList(this.turns, items, ({ id }) => String(id), () => this.makeTurn(), (node, item, i) => {
      const said = /** @type {Said} */ (this.said.get(String(item.id)) ?? this.made);
      kept.set(String(item.id), said);
      said.draw(item, i === items.length - 1 && item.state === undefined);
    });
    this.said = kept;
    this.earlier.hidden = this.first === 0;
    setText(this.earlier, `Show ${Math.min(this.first, PAGE)} earlier turns`);
    this.empty.hidden = items.length > 0;
    this.stop.hidden = !asking || live.cell === true;
    this.send.hidden = !this.stop.hidden;
    this.send.disabled = asking;
    this.follow();
  }

  makeTurn() {
    this.made = new Said(this);
    return this.made.node;
  }

  /** Say the start and the end of an answer to a screen reader, and nothing in between. */
  tellEnds() {
    const now = /** @type {Item | null} */ (this.tree.live);
    const before = this.before;
    this.before = now && { ...now };
    if (before === undefined) return;
    if (now?.state === "asking" && before?.id !== now.id) announce("An answer is being written.");
    if (before?.state !== "asking" || now?.state === "asking") return;
    if (now?.id !== before.id) announce(this.tree.turns.at(-1)?.id === before.id ? "The answer is complete." : "");
    else announce(now.state === "stopped" ? "The answer was stopped." : "The answer failed.");
  }

  // ── where the reader is ──

  showEarlier() {
    const fromEnd = this.log.scrollHeight - this.log.scrollTop;
    this.stuck = false;
    this.first = Math.max(0, this.first - PAGE);
    this.drawTurns();
    this.log.scrollTop = this.log.scrollHeight - fromEnd;
    this.top = this.log.scrollTop;
    if (this.earlier.hidden) this.log.focus({ preventScroll: true });
  }

  /** Going up leaves the end, and coming near it is being there; a text that grew meanwhile is neither. */
  scrolled() {
    const { scrollTop: top, scrollHeight, clientHeight } = this.log;
    if (scrollHeight - top - clientHeight < NEAR) this.stuck = true;
    else if (top < this.top - 1) this.stuck = false;
    this.top = top;
    this.latest.hidden = this.stuck;
  }

  /** Stay at the end, unless the reader has gone up. */
  follow() {
    if (this.stuck) {
      this.log.scrollTop = this.log.scrollHeight;
      this.top = this.log.scrollTop;
    }
    this.latest.hidden = this.stuck;
  }

  toEnd() {
    this.stuck = true;
    this.follow();
    this.input.focus({ preventScroll: true });
  }

  // ── what a hand does ──

  /** @param {KeyboardEvent} event */
  pressed(event) {
    if (event.key === "Escape" && !event.isComposing && !this.stop.hidden) {
      event.preventDefault();
      event.stopPropagation();
      this.halt();
    }
    if (event.target !== this.input) return;
    if (sends(event)) {
      event.preventDefault();
      this.submit();
    } else if (event.key === "ArrowUp" && !this.input.value && !event.isComposing) {
      event.preventDefault();
      this.editLast();
    }
  }

  submit() {
    const text = this.input.value;
    if (!text.trim() || this.mirror.gone) return;
    if (this.tree.live?.state === "asking" || this.pending) {
      setText(this.says, this.tree.live?.cell ? "A cell is waiting for its answer." : "The answer is still coming: Esc stops it.");
      return;
    }
    this.input.value = "";
    this.pending = { id: `sent-${++this.sent}`, you: text, state: "asking" };
    this.stuck = true;
    this.drawTurns();
    this.tellSystem.now();
    const done = this.ask("send", { text }).then((sent) => {
      this.pending = null;
      if (!sent && !this.input.value) this.input.value = text; // nothing is lost
      this.drawTurns();
    });
    this.input.focus({ preventScroll: true });
    return done;
  }

  halt() {
    this.mirror.urge("stop").catch(() => {});
    this.input.focus({ preventScroll: true });
  }

  /** Edit what was said last, whether it was answered or not. */
  editLast() {
    const { live, turns } = this.tree;
    if (live?.state === "asking" || this.pending) return;
    const open = (/** @type {Item | undefined} */ turn, /** @type {string} */ text = "") =>
      turn && this.said.get(String(turn.id))?.openEditor(text || undefined);
    if (live && live.at === undefined) {
      this.input.value = live.you;
      this.ask("dismiss");
    } else if (live) {
      open(turns[live.at], live.you);
    } else {
      open(turns.at(-1));
    }
  }

  /** Ask for something, and give the focus to where it belongs. @param {string} name @param {Record<string, unknown>} [args] @param {HTMLElement} [stay] */
  act(name, args = {}, stay = this.input) {
    if (["regenerate", "retry", "edit", "fork"].includes(name)) this.stuck = true;
    this.tellSystem.now();
    this.ask(name, args);
    stay.focus({ preventScroll: true });
  }

  /** @param {string} name @param {Record<string, unknown>} [args] @returns {Promise<boolean>} whether it was taken */
  ask(name, args = {}) {
    setText(this.says, "");
    return this.mirror.ask(name, args).then(
      () => true,
      (refused) => {
        const { message = String(refused.message), todo = "" } = refused.trouble ?? {};
        setText(this.says, [message, todo].filter(Boolean).join(" "));
        return false;
      },
    );
  }

  /** The conversation as markdown. */
  markdown() {
    const turns = /** @type {Item[]} */ (this.tree.turns);
    const parts = turns.map(({ you, who, text }) => `**You**\n\n${you}\n\n**${who ?? "Answer"}**\n\n${text ?? ""}\n`);
    return [`# ${this.tree.title}\n`, ...parts].join("\n");
  }

  /** Whether the focus is on something of this panel that can be seen. */
  holdsFocus() {
    const root = /** @type {Document | ShadowRoot} */ (this.root.getRootNode());
    const active = root.activeElement;
    if (!active || !this.root.contains(active)) return false;
    return active.checkVisibility?.({ visibilityProperty: true }) ?? true;
  }
}

export default panel((mirror, el) => new ChatView(mirror, el));
