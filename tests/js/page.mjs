/** A page for widgets that build elements: the parts of the DOM they use, strict about everything else. */

class Element {
  style = {};
  attributes = {};
  children = [];
  listeners = {};
  parent = null;
  disabled = false;
  #text = "";

  constructor(tag) {
    this.tag = tag;
    this.className = "";
  }
  get classList() {
    return {
      toggle: (name, on) => {
        const names = new Set(this.className.split(" ").filter(Boolean));
        if (on) names.add(name);
        else names.delete(name);
        this.className = [...names].join(" ");
      },
    };
  }
  get isConnected() {
    return this.parent !== null;
  }
  get textContent() {
    return this.children.length ? this.children.map((child) => child.textContent).join("") : this.#text;
  }
  set textContent(text) {
    this.children = [];
    this.#text = String(text);
  }
  set innerHTML(text) {
    throw new Error("markup must never be parsed");
  }
  setAttribute(name, value) {
    this.attributes[name] = String(value);
  }
  removeAttribute(name) {
    delete this.attributes[name];
  }
  append(...children) {
    for (const child of children) {
      if (!(child instanceof Element)) throw new Error("only elements are appended");
      child.parent = this;
      this.children.push(child);
    }
  }
  replaceChildren(...children) {
    this.children = [];
    this.append(...children);
  }
  remove() {
    this.parent.children = this.parent.children.filter((child) => child !== this);
    this.parent = null;
  }
  closest() {
    return null;
  }
  addEventListener(name, listener) {
    this.listeners[name] = listener;
  }
  click() {
    if (!this.disabled) this.listeners.click();
  }
  /** The first element below with a class, or undefined. */
  find(name) {
    if (this.className.split(" ").includes(name)) return this;
    for (const child of this.children) {
      const found = child.find(name);
      if (found) return found;
    }
    return undefined;
  }
}

/**
 * Put an empty page in the place of the globals; a notebook server stands behind it unless told otherwise.
 * @param {{server?: object | null, href?: string}} [options]
 */
export function openPage({ server = { baseUrl: "/user/x/", token: "t0" }, href = "https://hub.example/lab" } = {}) {
  const body = new Element("body");
  const config = server && { textContent: JSON.stringify(server) };
  globalThis.document = {
    body,
    cookie: "",
    createElement: (tag) => new Element(tag),
    getElementById: (id) =>
      id === "jupyter-config-data" ? config : (body.children.find((child) => child.attributes.id === id) ?? null),
  };
  globalThis.location = new URL(href);
  return body;
}

/** What a screen reader was told last. */
export function announced() {
  return document.getElementById("bnl-announcer")?.textContent;
}
