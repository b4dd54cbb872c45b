/**
 * Players of a music studio: a waveform that fills while it plays, and the browser's own controls below it.
 *
 * The bytes of a sound come once, when somebody wants to hear it, as the buffer of a message; the page keeps them as a
 * blob. One sound plays at a time.
 *
 * @typedef {{id: string, title: string, time: string, facts: string[], wave: string, kind: string, size: string,
 *   name: string, here: boolean, problem: string}} Take
 * @typedef {import("./panel.js").Mirror} Mirror
 */
import { announce, make } from "./server.js";
import { button, errorCard, hasFocus, matchList, setText } from "./panel.js";
import { sideOf } from "./studio_words.js";

const PICTURE = /^data:image\/svg\+xml;base64,[A-Za-z0-9+/=]+$/;
const PATIENCE = 30000; // milliseconds in which the bytes of a sound should have come

/** The sounds that this page has been sent, as addresses of blobs. */
export class Sounds {
  /** @param {Mirror} mirror */
  constructor(mirror) {
    this.mirror = mirror;
    /** @type {Map<string, Promise<string>>} */
    this.urls = new Map();
    /** @type {Map<string, (url: string) => void>} */
    this.waiting = new Map();
    /** @type {Map<string, ReturnType<typeof setTimeout>>} */
    this.late = new Map();
    /** @type {Set<HTMLAudioElement>} */
    this.players = new Set();
    /** @type {Map<string, string>} addresses of bytes that this page holds, by their sounds */
    this.made = new Map();
  }

  /** The address of a sound, which is asked for once. @param {string} id */
  url(id) {
    const known = this.urls.get(id);
    if (known) return known;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    let timer;
    const coming = /** @type {Promise<string>} */ (
      new Promise((resolve, reject) => {
        this.waiting.set(id, resolve);
        // While a cell runs, too: that is when there is time to listen.
        this.mirror.urge("audio", { take: id, to: this.mirror.me }).catch(reject);
        const late = () => reject(new Error("The sound has not come. Is the kernel still there?"));
        this.late.set(id, (timer = setTimeout(late, PATIENCE)));
      })
    );
    this.urls.set(id, coming);
    const failed = () => this.urls.get(id) === coming && this.urls.delete(id);
    coming.catch(failed).finally(() => clearTimeout(timer));
    return coming;
  }

  /** @param {any} message @param {any[]} buffers */
  hears(message, buffers) {
    if (typeof message?.audio !== "string" || message.to !== this.mirror.me || !buffers.length) return;
    const { audio: id, kind } = message;
    const take = this.waiting.get(id);
    this.waiting.delete(id);
    take?.(this.keep(id, new Blob([buffers[0]], { type: String(kind) }))); // nobody waits: nothing is kept
  }

  /** An address for the bytes of a sound, until it is forgotten. @param {string} id @param {Blob} blob */
  keep(id, blob) {
    const url = URL.createObjectURL(blob);
    this.made.set(id, url);
    return url;
  }

  /** Use a file of this page as a sound. @param {string} id @param {Blob} blob */
  give(id, blob) {
    this.forget(id);
    this.urls.set(id, Promise.resolve(this.keep(id, blob)));
  }

  /** Let go of a sound and its bytes: megabytes, that nobody will hear again. @param {string} id */
  forget(id) {
    this.urls.delete(id);
    this.waiting.delete(id);
    clearTimeout(this.late.get(id));
    this.late.delete(id);
    const url = this.made.get(id);
    if (url) URL.revokeObjectURL(url);
    this.made.delete(id);
  }

  /** One plays, the others rest. @param {HTMLAudioElement} playing */
  alone(playing) {
    for (const other of this.players) if (other !== playing) other.pause();
  }

  close() {
    for (const player of this.players) player.pause();
    for (const id of [...this.urls.keys()]) this.forget(id);
  }
}

/** A waveform, and the controls of one sound. */
export class SoundView {
  /** @param {Sounds} sounds @param {string} id */
  constructor(sounds, id) {
    this.sounds = sounds;
    this.id = id;
    this.root = make("div", "bnp-studio-sound");
    this.wave = make("div", "bnp-studio-wave", { role: "img" });
    this.wave.addEventListener("click", (/** @type {MouseEvent} */ event) => this.seek(event));
    this.slot = make("div", "bnp-studio-slot");
    this.play = button("Play", () => void this.start());
    this.play.classList.add("bnp-studio-play");
    this.label = "";
    /** @type {HTMLAudioElement} */
    this.audio = make("audio", "bnp-studio-audio", { controls: "", preload: "auto", hidden: "" });
    this.audio.addEventListener("play", () => sounds.alone(this.audio));
    this.audio.addEventListener("timeupdate", () => this.follow());
    this.trouble = make("div", "");
    this.slot.append(this.play, this.audio);
    this.root.append(this.wave, this.slot, this.trouble);
    sounds.players.add(this.audio);
  }

  /** @param {{title: string, time: string, wave: string, size: string}} take */
  update({ title, time, wave, size }) {
    this.wave.hidden = !PICTURE.test(wave);
    if (!this.wave.hidden && this.wave.dataset.known !== wave) {
      this.wave.dataset.known = wave;
      this.wave.style.setProperty("--bnp-wave", `url("${wave}")`);
    }
    this.wave.setAttribute("aria-label", `Waveform${time ? `, ${time}` : ""}`);
    this.label = size ? `Play · ${size}` : "Play";
    setText(this.play, this.label);
    this.play.setAttribute("aria-label", `${this.label}: ${title}`);
    this.audio.setAttribute("aria-label", title);
  }

  /** Have the bytes here. @returns {Promise<boolean>} whether they are */
  async load() {
    if (this.audio.src) return true;
    setText(this.play, "Coming …");
    try {
      const url = await this.sounds.url(this.id);
      if (!this.audio.src) {
        const held = hasFocus(this.play);
        this.audio.src = url;
        this.audio.hidden = false;
        this.play.hidden = true;
        if (held) this.audio.focus();
      }
      this.trouble.replaceChildren();
      return true;
    } catch (error) {
      const { trouble, message } = /** @type {any} */ (error);
      this.trouble.replaceChildren(errorCard(trouble ?? { title: "It cannot be played", message }));
      return false;
    } finally {
      setText(this.play, this.label);
    }
  }

  /** @param {number} [at] seconds */
  async start(at) {
    if (!(await this.load())) return;
    if (at !== undefined) this.audio.currentTime = at;
    await this.audio.play().catch(() => {}); // a browser may want a press of its own controls
  }

  /** @param {MouseEvent} event */
  async seek(event) {
    const { left, width } = this.wave.getBoundingClientRect();
    if (!(await this.load())) return;
    await this.ready();
    void this.start(Math.min(1, Math.max(0, (event.clientX - left) / width)) * (this.audio.duration || 0));
  }

  /** Wait until its length is known. */
  async ready() {
    if (this.audio.readyState >= 1) return;
    await new Promise((resolve) => {
      this.audio.addEventListener("loadedmetadata", resolve, { once: true });
      this.audio.addEventListener("error", resolve, { once: true });
    });
  }

  follow() {
    const { currentTime, duration } = this.audio;
    this.wave.style.setProperty("--bnp-played", `${duration ? (100 * currentTime) / duration : 0}%`);
  }

  /** Be another sound from now on. */
  reset() {
    this.release();
    this.audio.hidden = true;
    this.play.hidden = false;
    this.wave.style.setProperty("--bnp-played", "0%");
    this.trouble.replaceChildren();
  }

  /** Let go of the bytes, here and in the player. */
  release() {
    this.audio.pause();
    this.audio.removeAttribute("src");
    this.audio.load();
    this.sounds.forget(this.id);
  }

  close() {
    this.release();
    this.sounds.players.delete(this.audio);
  }
}

/** One take: what it is, its player, and what can be done with it. */
export class TakeView {
  /** @param {Sounds} sounds @param {Mirror} mirror @param {Take} take */
  constructor(sounds, mirror, take) {
    this.mirror = mirror;
    this.take = take;
    this.root = make("div", "bnp-studio-take", { role: "group" });
    this.sound = new SoundView(sounds, take.id);
    const head = make("div", "bnp-row bnp-studio-head");
    this.marks = /** @type {const} */ (["a", "b"]).map((side) => {
      const node = button(side.toUpperCase(), () => void mirror.ask("mark", { take: take.id, side }).catch(() => {}));
      node.classList.add("bnp-studio-mark");
      head.append(node);
      return { side, node };
    });
    this.title = make("span", "bnp-title bnp-studio-title", { dir: "auto" });
    this.time = make("span", "bnp-quiet bnp-figures");
    head.append(this.title, make("span", "bnp-quiet bnp-studio-name", {}, `take ${take.id}`), this.time);
    this.facts = make("div", "bnp-row bnp-quiet bnp-studio-facts");
    this.download = button("Download", () => void this.keep(), { kind: "quiet" });
    this.save = button("Save", () => void this.write(), { kind: "quiet", title: "Write it to a file beside the notebook" });
    this.fetch = button("Fetch it again", () => void this.get());
    this.said = make("span", "bnp-quiet", { role: "status" });
    const foot = make("div", "bnp-row");
    foot.append(this.download, this.save, this.said);
    this.problem = make("div", "bnp-note");
    this.words = make("div", "", { dir: "auto" });
    this.problem.append(this.words, this.fetch);
    this.root.append(head, this.sound.root, this.problem, this.facts, foot);
  }

  /** @param {Take} take @param {{a: string, b: string}} marks */
  update(take, marks) {
    this.take = take;
    const side = sideOf(take.id, marks);
    this.root.setAttribute("aria-label", `${take.title}, take ${take.id}${side ? `, marked ${side}` : ""}`);
    for (const mark of this.marks) {
      const on = marks[mark.side] === take.id;
      mark.node.setAttribute("aria-pressed", String(on));
      mark.node.setAttribute("aria-label", `Mark ${take.title}, take ${take.id}, as ${mark.side.toUpperCase()}`);
    }
    setText(this.title, take.title);
    setText(this.time, take.time);
    this.sound.update(take);
    this.sound.root.hidden = !take.here || !take.kind;
    this.problem.hidden = !take.problem;
    setText(this.words, take.problem);
    this.fetch.hidden = take.here;
    this.download.hidden = this.save.hidden = !take.here;
    this.download.setAttribute("aria-label", `Download ${take.title}`);
    this.save.setAttribute("aria-label", `Save beside the notebook: ${take.title}`);
    matchList(this.facts, take.facts, (fact, i) => `${i} ${fact}`, (fact) => make("span", "", { dir: "auto" }, fact));
  }

  async keep() {
    if (!(await this.sound.load()) && this.take.kind) return;
    const url = await this.sound.sounds.url(this.take.id).catch(() => "");
    if (!url) return;
    const link = make("a", "", { href: url, download: this.take.name, hidden: "" });
    this.root.append(link);
    link.click();
    link.remove();
    this.say(`Downloaded as ${this.take.name}`);
  }

  async write() {
    try {
      this.say(`Saved as ${await this.mirror.ask("save", { take: this.take.id })}`);
    } catch (error) {
      this.say(/** @type {Error} */ (error).message);
    }
  }

  async get() {
    try {
      await this.mirror.ask("fetch", { take: this.take.id });
      this.sound.play.focus();
      announce("The audio is here.");
    } catch (error) {
      this.say(/** @type {Error} */ (error).message);
    }
  }

  /** @param {string} text */
  say(text) {
    setText(this.said, text);
  }

  close() {
    this.sound.close();
  }
}
