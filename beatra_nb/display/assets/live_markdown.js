/**
 * Markdown that grows: the same text drawn again and again, a little longer each time, without flicker.
 *
 * Three ideas carry it.
 *  - Blocks that can no longer change are settled: they are neither parsed nor touched again.
 *  - The tail, the block still being written, is parsed into a small tree of plain objects, and the page's nodes are
 *    patched to match it: what stayed the same keeps its node, and a reader's selection survives.
 *  - What is open counts as closed at the tail: `**bo` is bold already, a lone `-` waits to become a list.
 *
 * Model text is hostile until proven otherwise. Nodes are made by createElement and createTextNode from tags named
 * here; there is no innerHTML, no attribute holds model text but `href`, and that only for http and https. Pictures
 * become links: nothing is loaded. Every scan is linear or bounded, however odd the text.
 *
 * Close to CommonMark, not equal to it: the finished answer is drawn anew by the full renderer.
 *
 * @typedef {{tag: string, attrs: Record<string, string>, kids: Tree[]}} Branch
 * @typedef {string | Branch} Tree
 * @typedef {{tree: Tree, line: number}} Block
 */

const DEEPEST = 8; // levels of nesting
const LONGEST = 2000; // characters of an address or of a formula within a line
const FENCE = /^( {0,3})(`{3,}|~{3,})[ \t]*([^`]*)$/;
const RULE = /^ {0,3}([-*_])(?:[ \t]*\1){2,}[ \t]*$/;
const HEADING = /^ {0,3}(#{1,6})(?=[ \t]|$)/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^( {0,3})([-*+]|\d{1,9}[.)])( {1,4}(?! )| |\t|$)/;
const MATH = /^ {0,3}(\$\$|\\\[)/;
const DELIMITERS = /^ {0,3}\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$/;
const ONLY_MARKUP = /^[ \t]*(?:[-=*_+>#`~|:$\\[\]!< \t]+|\d{1,9}[.)]?)[ \t]*$/;
const SPECIAL = /[\\`*_~$[!<\n]/g;
const SPACE = /\s/;
const WORD = /[\p{L}\p{N}]/u;
const SCROLLS = { tabindex: "0" }; // wide blocks scroll by keyboard as well
const LINK = { rel: "noopener noreferrer nofollow", target: "_blank" };

/** Draws a growing text into a node of the page. */
export class GrowingMarkdown {
  /** @param {Element} root an empty element, which belongs to this object from now on */
  constructor(root) {
    this.root = root;
    this.offset = 0; // where in the source the unsettled tail begins
    this.settled = 0; // how many of the root's children are settled
  }

  /**
   * Draw the source, which begins with the source drawn before.
   * @param {string} source
   * @param {boolean} open whether more is to come
   */
  draw(source, open = true) {
    const lines = source.slice(this.offset).split("\n");
    const held = open && ONLY_MARKUP.test(lines[lines.length - 1]) && !insideFence(lines);
    if (held) lines.pop();
    const blocks = parseBlocks(lines, open, 0);
    patch(this.root, this.settled, blocks.map((block) => block.tree));
    // A block settles when another has begun after it; a line that still grows may turn out to begin none.
    const begun = blocks.filter((block) => block.line < lines.length - 1).length - 1;
    for (let i = 0; begun > 0 && i < blocks[begun].line; i++) this.offset += lines[i].length + 1;
    this.settled += Math.max(0, begun);
  }
}

/**
 * @param {string} tag
 * @param {Tree[]} kids
 * @param {Record<string, string>} [attrs]
 * @returns {Branch}
 */
function branch(tag, kids, attrs = {}) {
  return { tag, attrs, kids };
}

/** Whether the text ends inside a code fence, where nothing is markup. @param {string[]} lines */
function insideFence(lines) {
  let fence = "";
  for (const line of lines) {
    const mark = FENCE.exec(line.replace(/^[\s>]*(?:[-*+]|\d{1,9}[.)])?\s+/, ""))?.[2] ?? FENCE.exec(line)?.[2];
    if (!fence && mark) fence = mark;
    else if (fence && closesFence(line, fence)) fence = "";
  }
  return fence !== "";
}

/** Headings are stepped down: an answer stands inside a page that has its own. @param {number} level */
function headingTag(level) {
  return `h${Math.min(level + 2, 6)}`;
}

/** @param {string} line @param {string} fence */
function closesFence(line, fence) {
  const mark = line.trim();
  return mark.length >= fence.length && mark === fence[0].repeat(mark.length);
}

/** Whether a line begins a block that ends the paragraph before it. @param {string} line */
function interrupts(line) {
  if (HEADING.test(line) || RULE.test(line) || QUOTE.test(line) || FENCE.test(line) || MATH.test(line)) return true;
  const item = ITEM.exec(line);
  return item !== null && line.length > item[0].length && (item[2].length === 1 || /^1[.)]$/.test(item[2]));
}

/**
 * @param {string[]} lines
 * @param {boolean} open whether the last line may still grow
 * @param {number} depth
 * @returns {Block[]}
 */
function parseBlocks(lines, open, depth) {
  /** @type {Block[]} */
  const blocks = [];
  let i = 0;
  while (i < lines.length) {
    if (lines[i].trim() === "") {
      i++;
      continue;
    }
    const [tree, end] = parseBlock(lines, i, open, depth);
    blocks.push({ tree, line: i });
    i = end;
  }
  return blocks;
}

/**
 * @param {string[]} lines
 * @param {number} i a line that is not blank
 * @param {boolean} open
 * @param {number} depth
 * @returns {[Tree, number]} the block, and the line after it
 */
function parseBlock(lines, i, open, depth) {
  const line = lines[i];
  const fence = FENCE.exec(line);
  if (fence) return parseFence(lines, i, fence);
  if (/^(?: {4}|\t)/.test(line)) return parseIndented(lines, i);
  const heading = HEADING.exec(line);
  if (heading) {
    const text = line.slice(heading[0].length).trim().replace(/(^|[ \t])#+$/, "");
    return [branch(headingTag(heading[1].length), inline(text.trim(), open && i === lines.length - 1)), i + 1];
  }
  if (RULE.test(line)) return [branch("hr", []), i + 1];
  if (depth < DEEPEST) {
    if (QUOTE.test(line)) return parseQuote(lines, i, open, depth);
    const item = ITEM.exec(line);
    if (item) return parseList(lines, i, item[2], open, depth);
  }
  if (MATH.test(line)) return parseMath(lines, i);
  return parseTable(lines, i, open) ?? parseParagraph(lines, i, open);
}

/** @param {string[]} lines @param {number} i @param {RegExpExecArray} fence @returns {[Tree, number]} */
function parseFence(lines, i, fence) {
  let end = i + 1;
  while (end < lines.length && !closesFence(lines[end], fence[2])) end++;
  const indent = new RegExp(`^ {0,${fence[1].length}}`);
  const code = lines.slice(i + 1, end).map((text) => text.replace(indent, ""));
  return [branch("pre", [branch("code", [code.join("\n")])], SCROLLS), end + 1];
}

/** @param {string[]} lines @param {number} i @returns {[Tree, number]} */
function parseIndented(lines, i) {
  let end = i;
  while (end < lines.length && (/^(?: {4}|\t)/.test(lines[end]) || lines[end].trim() === "")) end++;
  const code = lines.slice(i, end).map((text) => text.replace(/^(?: {4}|\t)/, ""));
  return [branch("pre", [branch("code", [code.join("\n").trimEnd()])], SCROLLS), end];
}

/** @param {string[]} lines @param {number} i @param {boolean} open @param {number} depth @returns {[Tree, number]} */
function parseQuote(lines, i, open, depth) {
  let end = i + 1;
  while (end < lines.length && lines[end].trim() && (QUOTE.test(lines[end]) || !interrupts(lines[end]))) end++;
  const inner = lines.slice(i, end).map((text) => text.replace(QUOTE, ""));
  const blocks = parseBlocks(inner, open && end === lines.length, depth + 1);
  return [branch("blockquote", blocks.map((block) => block.tree)), end];
}

/**
 * @param {string[]} lines
 * @param {number} i
 * @param {string} first the first item's marker
 * @param {boolean} open
 * @param {number} depth
 * @returns {[Tree, number]}
 */
function parseList(lines, i, first, open, depth) {
  const kind = first[first.length - 1];
  /** @type {string[][]} */
  const items = [];
  let width = 0;
  let loose = false;
  let blank = false; // the line before was blank
  let end = i;
  for (; end < lines.length; end++) {
    const line = lines[end];
    if (line.trim() === "") {
      blank = true;
      items[items.length - 1].push("");
      continue;
    }
    const item = ITEM.exec(line);
    const indent = line.length - line.trimStart().length;
    if (items.length && indent >= width) {
      items[items.length - 1].push(line.slice(width));
    } else if (item && item[2][item[2].length - 1] === kind && !RULE.test(line)) {
      loose ||= blank && items.length > 0;
      width = item[0].length + (item[3] === "" ? 1 : 0);
      items.push([line.slice(item[0].length)]);
    } else if (!blank && !interrupts(line) && !item) {
      items[items.length - 1].push(line.trimStart()); // a paragraph's lazy continuation
    } else {
      break;
    }
    blank = false;
  }
  const parsed = items.map((text, n) => {
    const growing = open && end === lines.length && n === items.length - 1;
    return parseBlocks(text, growing, depth + 1);
  });
  // Blank lines between the blocks of one item make the whole list airy, as between items.
  loose ||= parsed.some((blocks, n) => blocks.some((block, k) => k > 0 && items[n][block.line - 1] === ""));
  const kids = parsed.map((blocks) => branch("li", blocks.flatMap((block) => spaced(block.tree, loose))));
  const start = Number.parseInt(first, 10);
  if (Number.isNaN(start)) return [branch("ul", kids), end];
  return [branch("ol", kids, start === 1 ? {} : { start: String(start) }), end];
}

/** In a tight list a paragraph is bare text. @param {Tree} tree @param {boolean} loose @returns {Tree[]} */
function spaced(tree, loose) {
  return !loose && typeof tree !== "string" && tree.tag === "p" ? tree.kids : [tree];
}

/** Formulas stay as they are written until the finished view, which typesets them.
 * @param {string[]} lines @param {number} i @returns {[Tree, number]} */
function parseMath(lines, i) {
  const close = lines[i].trimStart().startsWith("$$") ? "$$" : "\\]";
  let end = i;
  while (end < lines.length && !(lines[end].trimEnd().endsWith(close) && (end > i || lines[i].trim().length > 3))) end++;
  return [branch("p", [lines.slice(i, end + 1).join("\n")]), end + 1];
}

/** @param {string[]} lines @param {number} i @param {boolean} open @returns {[Tree, number] | null} */
function parseTable(lines, i, open) {
  const last = lines.length - 1;
  const starting = open && i === last && lines[i].trimStart().startsWith("|");
  const ruled = i < last && lines[i].includes("|") && lines[i + 1].includes("-") && DELIMITERS.test(lines[i + 1]);
  if (!starting && !ruled) return null;
  const heads = cells(lines[i]);
  const rules = ruled ? cells(lines[i + 1]) : [];
  if (ruled && rules.length !== heads.length) return null;
  /** @param {string} tag @param {string[]} texts @param {boolean} growing */
  const row = (tag, texts, growing) =>
    branch("tr", heads.map((_, n) => {
      const text = texts[n] ?? "";
      return branch(tag, inline(text, growing && n === texts.length - 1), alignment(rules[n] ?? ""));
    }));
  let end = Math.min(i + 2, lines.length);
  const rows = [];
  for (; end < lines.length && lines[end].trim() && !interrupts(lines[end]); end++) {
    rows.push(row("td", cells(lines[end]), open && end === last));
  }
  const head = branch("thead", [row("th", heads, starting)]);
  return [branch("table", rows.length ? [head, branch("tbody", rows)] : [head], SCROLLS), end];
}

/** @param {string} rule @returns {Record<string, string>} */
function alignment(rule) {
  if (!rule.endsWith(":")) return {};
  return { style: rule.startsWith(":") ? "text-align:center" : "text-align:right" };
}

/** Split a table's row at its bars, but not at escaped ones. @param {string} line */
function cells(line) {
  const found = [""];
  const text = line.trim();
  for (let i = text.startsWith("|") ? 1 : 0; i < text.length; i++) {
    if (text[i] === "\\" && text[i + 1] === "|") found[found.length - 1] += text[++i];
    else if (text[i] === "|") found.push("");
    else found[found.length - 1] += text[i];
  }
  if (found.length > 1 && found[found.length - 1].trim() === "") found.pop();
  return found.map((cell) => cell.trim());
}

/** @param {string[]} lines @param {number} i @param {boolean} open @returns {[Tree, number]} */
function parseParagraph(lines, i, open) {
  let end = i + 1;
  let tag = "p";
  for (; end < lines.length && lines[end].trim(); end++) {
    const underline = /^ {0,3}(=+|-+)[ \t]*$/.exec(lines[end]);
    if (underline) {
      tag = headingTag(underline[1][0] === "=" ? 1 : 2);
      break;
    }
    if (interrupts(lines[end]) || (lines[end].includes("|") && parseTable(lines, end, open))) break;
  }
  const text = lines.slice(i, end).map((line) => line.trimStart()).join("\n").trimEnd();
  const after = tag === "p" ? end : end + 1;
  return [branch(tag, inline(text, open && after >= lines.length)), after];
}

/**
 * Parse what stands inside a paragraph.
 * @param {string} text
 * @param {boolean} open whether more may follow: what is open then counts as closed
 * @param {number} [depth]
 * @returns {Tree[]}
 */
export function inline(text, open, depth = 0) {
  if (depth > DEEPEST) return [text];
  /** @type {Tree[]} */
  const trees = [];
  /** @param {Tree} tree */
  const push = (tree) => {
    const last = trees.length - 1;
    if (typeof tree === "string" && typeof trees[last] === "string") trees[last] += tree;
    else if (tree !== "") trees.push(tree);
  };
  const missing = new Set(); // closers that do not occur any more: searched for once, not at each opener
  let i = 0;
  while (i < text.length) {
    SPECIAL.lastIndex = i;
    const at = SPECIAL.exec(text)?.index ?? text.length;
    if (text[at] === "\n" && text.endsWith("  ", at) && at - i >= 2) {
      push(text.slice(i, at).trimEnd());
      push(branch("br", []));
      i = at + 1;
      continue;
    }
    push(text.slice(i, at));
    if (at >= text.length) break;
    const [tree, end] = parseSpan(text, at, open, depth, missing);
    push(tree);
    i = end;
  }
  return trees;
}

/**
 * @param {string} text
 * @param {number} i the place of a special character
 * @param {boolean} open
 * @param {number} depth
 * @param {Set<string>} missing
 * @returns {[Tree, number]}
 */
function parseSpan(text, i, open, depth, missing) {
  switch (text[i]) {
    case "\\":
      return parseEscape(text, i);
    case "`":
      return parseCode(text, i, open, missing);
    case "$":
      return parseDollars(text, i, missing);
    case "<": {
      const address = /^<(https?:\/\/[^\s<>]+)>/i.exec(text.slice(i, i + LONGEST));
      return address && safe(address[1]) ? [anchor([address[1]], address[1]), i + address[0].length] : ["<", i + 1];
    }
    case "!":
    case "[":
      return parseLink(text, i, open, depth);
    case "\n":
      return ["\n", i + 1];
    default:
      return parseEmphasis(text, i, open, depth, missing);
  }
}

/** @param {string} text @param {number} i @returns {[Tree, number]} */
function parseEscape(text, i) {
  const next = text[i + 1] ?? "";
  if (next === "\n") return [branch("br", []), i + 2];
  if (next === "(" || next === "[") {
    const rest = text.slice(i, i + LONGEST);
    const end = rest.indexOf(next === "(" ? "\\)" : "\\]", 2); // a formula: stays as it is written
    if (end > 0) return [rest.slice(0, end + 2), i + end + 2];
  }
  return /[!-/:-@[-`{-~]/.test(next) ? [next, i + 2] : ["\\", i + 1];
}

/** How often the character at `i` stands there in a row. @param {string} text @param {number} i */
function run(text, i) {
  let end = i + 1;
  while (text[end] === text[i]) end++;
  return end - i;
}

/** @param {string} text @param {number} i @param {boolean} open @param {Set<string>} missing @returns {[Tree, number]} */
function parseCode(text, i, open, missing) {
  const size = run(text, i);
  const key = "`".repeat(Math.min(size, 99));
  let end = missing.has(key) ? -1 : text.indexOf("`", i + size);
  while (end >= 0 && run(text, end) !== size) end = text.indexOf("`", end + run(text, end));
  if (end < 0) {
    missing.add(key);
    if (!open || i + size === text.length || size > 2) return [text.slice(i, i + size), i + size];
    return [branch("code", [text.slice(i + size).replace(/`+$/, "")]), text.length];
  }
  const code = text.slice(i + size, end).replaceAll("\n", " ");
  const padded = code.startsWith(" ") && code.endsWith(" ") && code.trim() !== "";
  return [branch("code", [padded ? code.slice(1, -1) : code]), end + size];
}

/** Formulas between dollars stay as written, safe from emphasis.
 * @param {string} text @param {number} i @param {Set<string>} missing @returns {[Tree, number]} */
function parseDollars(text, i, missing) {
  const mark = text[i + 1] === "$" ? "$$" : "$";
  const from = i + mark.length;
  if (missing.has(mark) || SPACE.test(text[from] ?? " ")) return [mark, from];
  const end = text.indexOf(mark, from);
  if (end < 0) missing.add(mark);
  if (end < 0 || SPACE.test(text[end - 1]) || /\d/.test(text[end + mark.length] ?? "")) return [mark, from];
  return [text.slice(i, end + mark.length), end + mark.length];
}

/** @param {string} text @param {number} i @param {boolean} open @param {number} depth @returns {[Tree, number]} */
function parseLink(text, i, open, depth) {
  const start = text[i] === "!" ? i + 2 : i + 1;
  if (text[start - 1] !== "[") return [text[i], i + 1];
  let close = start;
  while (close < text.length && text[close] !== "]" && text[close] !== "[") close += text[close] === "\\" ? 2 : 1;
  if (text[close] !== "]" || text[close + 1] !== "(") return [text.slice(i, start), start];
  const label = (text[i] === "!" ? "🖼 " : "") + text.slice(start, close);
  let end = close + 2;
  const limit = Math.min(text.length, end + LONGEST);
  for (let level = 1; end < limit && level <= DEEPEST && !SPACE.test(text[end]); end++) {
    if (text[end] === "(") level++;
    else if (text[end] === ")" && --level === 0) break;
  }
  const address = text.slice(close + 2, end).replace(/^<|>$/g, "");
  if (SPACE.test(text[end] ?? "")) {
    const title = text.slice(end, limit).indexOf(")"); // a title stands there: it is left out
    end = title < 0 ? limit : end + title;
  }
  if (end >= limit) {
    return open && limit === text.length ? [branch("span", inline(label, false, depth + 1)), text.length] : [text.slice(i, start), start];
  }
  if (text[end] !== ")" || !safe(address)) return [text.slice(i, start), start];
  return [anchor(inline(label || address, false, depth + 1), address), end + 1];
}

/** @param {string} address */
function safe(address) {
  return /^https?:\/\/[^\s/]/i.test(address) && URL.canParse(address);
}

/** @param {Tree[]} kids @param {string} address */
function anchor(kids, address) {
  return branch("a", kids, { href: address, ...LINK });
}

/**
 * @param {string} text
 * @param {number} i
 * @param {boolean} open
 * @param {number} depth
 * @param {Set<string>} missing
 * @returns {[Tree, number]}
 */
function parseEmphasis(text, i, open, depth, missing) {
  const mark = text[i];
  const size = run(text, i);
  const from = i + size;
  const literal = /** @type {[Tree, number]} */ ([text.slice(i, from), from]);
  const opens = !SPACE.test(text[from] ?? " ") && !(mark === "_" && WORD.test(text[i - 1] ?? ""));
  if (!opens || size > 3 || (mark === "~" && size !== 2)) return literal;
  const key = mark.repeat(size);
  let end = missing.has(key) ? -1 : closer(text, from, mark, size);
  let after = end + size;
  if (end < 0) {
    missing.add(key);
    if (!open) return literal;
    end = after = text.length;
    while (text[end - 1] === mark) end--; // half a closing mark
    if (end <= from) return literal;
  }
  const kids = inline(text.slice(from, end), open && after === text.length, depth + 1);
  if (mark === "~") return [branch("del", kids), after];
  if (size === 1) return [branch("em", kids), after];
  return [branch("strong", size === 2 ? kids : [branch("em", kids)]), after];
}

/** Find where emphasis ends, or -1. @param {string} text @param {number} from @param {string} mark @param {number} size */
function closer(text, from, mark, size) {
  for (let i = from; i < text.length; i++) {
    if (text[i] === "\\") {
      i++;
    } else if (text[i] === "`") {
      const ticks = run(text, i);
      const end = text.indexOf("`".repeat(Math.min(ticks, 99)), i + ticks);
      i = (end < 0 ? i : end) + ticks - 1;
    } else if (text[i] === mark) {
      const found = run(text, i);
      const closes = !SPACE.test(text[i - 1]) && !(mark === "_" && WORD.test(text[i + found] ?? ""));
      if (closes && (found === size || (found === 3 && size < 3))) return i + found - size;
      i += found - 1;
    }
  }
  return -1;
}

/**
 * Make the children of a node match the trees, from one child on, touching only what differs.
 * @param {Node} parent
 * @param {number} from
 * @param {Tree[]} trees
 */
function patch(parent, from, trees) {
  trees.forEach((tree, n) => {
    const old = parent.childNodes[from + n];
    const kept = old && same(old, tree) ? old : create(parent, tree);
    if (!old) parent.appendChild(kept);
    else if (kept !== old) parent.replaceChild(kept, old);
    if (typeof tree === "string") setText(/** @type {Text} */ (kept), tree);
    else patch(kept, 0, tree.kids);
  });
  while (parent.childNodes.length > from + trees.length) {
    parent.removeChild(/** @type {ChildNode} */ (parent.lastChild));
  }
}

/** @param {Node} node @param {Tree} tree */
function same(node, tree) {
  if (typeof tree === "string") return node.nodeType === 3;
  if (node.nodeName.toLowerCase() !== tree.tag) return false;
  const names = Object.keys(tree.attrs);
  const element = /** @type {Element} */ (node);
  return element.attributes.length === names.length && names.every((n) => element.getAttribute(n) === tree.attrs[n]);
}

/** @param {Node} parent @param {Tree} tree @returns {Node} */
function create(parent, tree) {
  const page = /** @type {Document} */ (parent.ownerDocument);
  if (typeof tree === "string") return page.createTextNode(tree);
  const element = page.createElement(tree.tag);
  for (const [name, value] of Object.entries(tree.attrs)) element.setAttribute(name, value);
  return element;
}

/** Growing text is appended to, so that a selection inside it stays. @param {Text} node @param {string} text */
function setText(node, text) {
  if (node.data === text) return;
  if (text.startsWith(node.data)) node.appendData(text.slice(node.data.length));
  else node.data = text;
}
