/** The few parts of a page's tree that the growing renderer uses, strict about everything else. */

class Node {
  constructor(page) {
    this.ownerDocument = page;
    this.childNodes = [];
  }
  get lastChild() {
    return this.childNodes.at(-1) ?? null;
  }
  get textContent() {
    return this.childNodes.map((child) => child.textContent).join("");
  }
  appendChild(child) {
    this.childNodes.push(child);
    this.ownerDocument.changes++;
    return child;
  }
  replaceChild(child, old) {
    this.childNodes[this.#place(old)] = child;
    this.ownerDocument.changes++;
    return old;
  }
  removeChild(old) {
    this.childNodes.splice(this.#place(old), 1);
    this.ownerDocument.changes++;
    return old;
  }
  #place(child) {
    const place = this.childNodes.indexOf(child);
    if (place < 0) throw new Error("not a child of this node");
    return place;
  }
}

class Text extends Node {
  nodeType = 3;
  nodeName = "#text";
  constructor(page, text) {
    super(page);
    this.text = text;
  }
  get data() {
    return this.text;
  }
  set data(text) {
    this.text = text;
    this.ownerDocument.changes++;
  }
  get textContent() {
    return this.text;
  }
  appendData(text) {
    this.data = this.text + text;
  }
}

class Element extends Node {
  nodeType = 1;
  attributes = [];
  constructor(page, tag) {
    super(page);
    this.nodeName = tag.toUpperCase();
  }
  getAttribute(name) {
    return this.attributes.find((attribute) => attribute.name === name)?.value ?? null;
  }
  setAttribute(name, value) {
    if (this.getAttribute(name) !== null) throw new Error("attributes are set once");
    this.attributes.push({ name, value });
  }
  set innerHTML(text) {
    throw new Error("markup must never be parsed");
  }
}

/** An empty page; `changes` counts what was done to it. */
export class Page {
  changes = 0;
  createElement(tag) {
    return new Element(this, tag);
  }
  createTextNode(text) {
    return new Text(this, text);
  }
}

/** An empty element of an empty page. */
export function emptyRoot() {
  return new Page().createElement("div");
}

/** A node's children as markup, for reading in assertions. */
export function markup(node) {
  return node.childNodes.map(one).join("");
}

function one(node) {
  if (node.nodeType === 3) return node.data.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
  const tag = node.nodeName.toLowerCase();
  const shown = node.attributes.filter(({ name }) => name !== "rel" && name !== "target");
  const attrs = shown.map(({ name, value }) => ` ${name}="${value}"`).join("");
  return `<${tag}${attrs}>${markup(node)}</${tag}>`;
}

/** Every element below a node. */
export function elements(node) {
  return node.childNodes.flatMap((child) => (child.nodeType === 1 ? [child, ...elements(child)] : []));
}
