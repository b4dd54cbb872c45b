import assert from "node:assert/strict";
import { test } from "node:test";

import { GrowingMarkdown } from "../../beatra_nb/display/assets/live_markdown.js";
import { elements, emptyRoot, markup } from "./dom.mjs";

const TAGS = new Set(
  "p h3 h4 h5 h6 ul ol li blockquote pre code em strong del a br hr span table thead tbody tr th td".split(" "),
);

const EVERYTHING = `# Title

Some *emphasis*, **strength**, ***both***, ~~gone~~ and \`code with *stars*\`.
A second line with a [link](https://example.org/a_(b)) in it.

1. one
2. two
   - nested \`x\`
   - nested **y**

   more of two
3. three

> quoted *words*
> go on

\`\`\`python
def f(*args):
    return "# not a heading"

- not a list
\`\`\`

| a | b |
|---|--:|
| 1 | \`2\` |
| 3 | **4** |

$$ a_1 * b_2 * c $$

---

The end.
`;

function drawn(source, open = false) {
  const root = emptyRoot();
  new GrowingMarkdown(root).draw(source, open);
  return root;
}

const html = (source, open = false) => markup(drawn(source, open));

/** A small generator of numbers, the same in every run. */
function numbers(seed) {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

test("blocks", () => {
  const cases = [
    ["Hello", "<p>Hello</p>"],
    ["one\ntwo\n\nthree", "<p>one\ntwo</p><p>three</p>"],
    ["one  \ntwo\\\nthree", "<p>one<br></br>two<br></br>three</p>"],
    ["# A #\n## B", "<h3>A</h3><h4>B</h4>"],
    ["#no heading", "<p>#no heading</p>"],
    ["Title\n===\nSub\n---", "<h3>Title</h3><h4>Sub</h4>"],
    ["a\n\n---\n\nb", "<p>a</p><hr></hr><p>b</p>"],
    ["- a\n- b", "<ul><li>a</li><li>b</li></ul>"],
    ["- a\n\n- b", "<ul><li><p>a</p></li><li><p>b</p></li></ul>"],
    ["- a\n  - b\n    - c\n- d", "<ul><li>a<ul><li>b<ul><li>c</li></ul></li></ul></li><li>d</li></ul>"],
    ["3. a\n4. b", '<ol start="3"><li>a</li><li>b</li></ol>'],
    ["* a\n\ntext", "<ul><li>a</li></ul><p>text</p>"],
    ["- a\n+ b", "<ul><li>a</li></ul><ul><li>b</li></ul>"],
    ["In 1999\n2000. was next", "<p>In 1999\n2000. was next</p>"],
    ["> a\n> > b\n\nc", "<blockquote><p>a</p><blockquote><p>b</p></blockquote></blockquote><p>c</p>"],
    ["```js\na < b\n\n*c*\n```\nd", '<pre tabindex="0"><code>a &lt; b\n\n*c*</code></pre><p>d</p>'],
    ["````\n```\n````", '<pre tabindex="0"><code>```</code></pre>'],
    ["~~~\na\n~~~", '<pre tabindex="0"><code>a</code></pre>'],
    ["    indented\n\n    code", '<pre tabindex="0"><code>indented\n\ncode</code></pre>'],
    ["- a\n  ```\n  b\n  ```", '<ul><li>a<pre tabindex="0"><code>b</code></pre></li></ul>'],
    [
      "| a | b |\n|:-:|---|\n| 1 \\| 2 |",
      '<table tabindex="0"><thead><tr><th style="text-align:center">a</th><th>b</th></tr></thead>' +
        '<tbody><tr><td style="text-align:center">1 | 2</td><td></td></tr></tbody></table>',
    ],
    ["a | b\nc", "<p>a | b\nc</p>"],
    ["so:\n| a |\n|---|", '<p>so:</p><table tabindex="0"><thead><tr><th>a</th></tr></thead></table>'],
    ["$$\na_1 * b_2 *\n$$\nc", "<p>$$\na_1 * b_2 *\n$$</p><p>c</p>"],
  ];
  for (const [source, expected] of cases) assert.equal(html(source), expected, source);
});

test("words inside a paragraph", () => {
  const cases = [
    ["*a* **b** ***c*** _d_ __e__ ~~f~~", "<em>a</em> <strong>b</strong> <strong><em>c</em></strong> <em>d</em> <strong>e</strong> <del>f</del>"],
    ["**a *b* c**", "<strong>a <em>b</em> c</strong>"],
    ["*a **b***", "<em>a <strong>b</strong></em>"],
    ["**a *b***", "<strong>a <em>b</em></strong>"],
    ["2 * 3 * 4, snake_case_name, **open", "2 * 3 * 4, snake_case_name, **open"],
    ["`a`, ``b ` c``, `*`, ` `` `", "<code>a</code>, <code>b ` c</code>, <code>*</code>, <code>``</code>"],
    ["*a `*` b*", "<em>a <code>*</code> b</em>"],
    ["\\*a\\* \\q", "*a* \\q"],
    ["$a_1*b$ and \\(x_1*y\\) but $5 or *$10*", "$a_1*b$ and \\(x_1*y\\) but $5 or <em>$10</em>"],
    ["[a *b*](https://x.org/y \"t\") c", '<a href="https://x.org/y">a <em>b</em></a> c'],
    ["<https://x.org>", '<a href="https://x.org">https://x.org</a>'],
    ["![cat](https://x.org/cat.png)", '<a href="https://x.org/cat.png">🖼 cat</a>'],
    ["[a] (b) [c](d) [e](/f)", "[a] (b) [c](d) [e](/f)"],
  ];
  for (const [source, expected] of cases) assert.equal(html(source), `<p>${expected}</p>`, source);
});

test("what is open counts as closed while more is to come", () => {
  const cases = [
    ["a **bo", "<p>a <strong>bo</strong></p>"],
    ["a **bo*", "<p>a <strong>bo</strong></p>"],
    ["a `co", "<p>a <code>co</code></p>"],
    ["a [label](https://exa", "<p>a <span>label</span></p>"],
    ["```py\nx = 1", '<pre tabindex="0"><code>x = 1</code></pre>'],
    ["a\n\n-", "<p>a</p>"],
    ["a\n\n**", "<p>a</p>"],
    ["a\n\n12.", "<p>a</p>"],
    ["a\n\n## ", "<p>a</p>"],
    ["| a | b", '<table tabindex="0"><thead><tr><th>a</th><th>b</th></tr></thead></table>'],
    ["| a |\n|-", '<table tabindex="0"><thead><tr><th>a</th></tr></thead></table>'],
    ["so:\n| a", '<p>so:</p><table tabindex="0"><thead><tr><th>a</th></tr></thead></table>'],
    ["```\na\n-", '<pre tabindex="0"><code>a\n-</code></pre>'],
  ];
  for (const [source, expected] of cases) assert.equal(html(source, true), expected, source);
});

test("growing gives what drawing at once gives", () => {
  const pieces = [..."*_`~#>|-+[](){}$\\!<:1. \n\n\n\t"].concat(
    ["a ", "word", "**", "```", "\n\n", "\n- ", "\n1. ", "\n> ", "\n| a | b |\n|---|---|\n", "](https://x.org)", "    "],
  );
  const next = numbers(7);
  const sources = [EVERYTHING];
  for (let n = 0; n < 1500; n++) {
    sources.push(Array.from({ length: 1 + next(30) }, () => pieces[next(pieces.length)]).join(""));
  }
  for (const source of sources) {
    const root = emptyRoot();
    const growing = new GrowingMarkdown(root);
    for (let at = 0; at < source.length; at += 1 + next(4)) growing.draw(source.slice(0, at), true);
    growing.draw(source, false);
    assert.equal(markup(root), html(source), JSON.stringify(source));
  }
});

test("what is settled is not touched again, and the tail keeps its nodes", () => {
  const root = emptyRoot();
  const growing = new GrowingMarkdown(root);
  growing.draw("# Title\n\nFirst paragraph.\n\nSecond");
  const [title, first, second] = root.childNodes;
  const word = second.childNodes[0];
  const before = root.ownerDocument.changes;
  growing.draw("# Title\n\nFirst paragraph.\n\nSecond paragraph");
  assert.equal(root.ownerDocument.changes - before, 1, "one text node is appended to, nothing else happens");
  assert.deepEqual([...root.childNodes], [title, first, second]);
  assert.equal(second.childNodes[0], word);
});

test("drawing the same again does nothing", () => {
  const root = emptyRoot();
  const growing = new GrowingMarkdown(root);
  growing.draw(EVERYTHING);
  const before = root.ownerDocument.changes;
  growing.draw(EVERYTHING);
  assert.equal(root.ownerDocument.changes, before);
});

test("a page's nodes never flicker away: blocks only come, or change in place", () => {
  const root = emptyRoot();
  const growing = new GrowingMarkdown(root);
  let count = 0;
  for (let at = 1; at <= EVERYTHING.length; at++) {
    growing.draw(EVERYTHING.slice(0, at));
    assert.ok(root.childNodes.length >= count, `a block vanished at ${JSON.stringify(EVERYTHING.slice(at - 20, at))}`);
    count = root.childNodes.length;
  }
});

test("hostile text stays text", () => {
  const sources = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "[a](javascript:alert(1)) [b](data:text/html,x) [c](vbscript:x) [d](//evil.org) [e](JaVaScRiPt:alert(1))",
    "[a](https://x.org/\" onclick=alert(1))",
    "[a](<javascript:alert(1)>) <javascript:alert(1)>",
    "[a](&#106;avascript:alert(1)) [b](java\nscript:alert(1)) [c](\u0001javascript:alert(1))",
    "![x](https://evil.org/pixel.png) ![x](data:image/svg+xml,<svg onload=alert(1)>)",
    "```<script>\n</code></pre><script>alert(1)</script>\n```",
    "# <b>x</b>\n- <iframe src=https://evil.org>\n> <style>*{display:none}</style>",
    "| <a onclick=x> | b |\n|---|---|\n| </table><script>alert(1)</script> | x |",
    "[<img src=x onerror=alert(1)>](https://x.org)",
    "<https://x.org/<script>> <https://x.org/\"onmouseover=alert(1)>",
    "__proto__ [constructor](https://x.org/__proto__)",
  ];
  for (const source of sources) {
    for (const open of [false, true]) {
      const root = drawn(source, open);
      for (const element of elements(root)) {
        assert.ok(TAGS.has(element.nodeName.toLowerCase()), `${element.nodeName} from ${source}`);
        for (const { name, value } of element.attributes) {
          if (name === "href") assert.match(value, /^https?:\/\/[^\s]+$/i, source);
          else assert.ok(["rel", "target", "start", "style", "tabindex"].includes(name), `${name} from ${source}`);
          if (name === "style") assert.match(value, /^text-align:(center|right)$/);
          if (name === "tabindex") assert.equal(value, "0");
        }
      }
    }
  }
  assert.equal(drawn("<script>alert(1)</script>").textContent, "<script>alert(1)</script>");
});

test("odd text takes no odd time", { timeout: 60_000 }, () => {
  const many = 50_000;
  const patterns = [
    "*", "_", "*a ", "**a ", "_a_", "`", "`a``", "[", "[a](", "![", "](", "$", "$a ", "\\(", "<", "<https://", "~~a ",
    "> ", "- ", "1. ", "# ", "|", "|-", "a|", " ", "\t", "\n", "\n\n", "***a**", "\\", "-", "=", "a\n=", "\n- ", "\n> ",
    "\n| a", ":-|", "`\n", "[a](b [", "a*b_", "*_", "**_a",
  ];
  for (const pattern of patterns) {
    for (const source of [pattern.repeat(many / pattern.length), `x ${pattern.repeat(many / pattern.length)} x`]) {
      const began = process.cpuUsage(); // not the clock: other tests run at the same time
      drawn(source, true);
      drawn(source, false);
      const took = process.cpuUsage(began).user / 1000;
      assert.ok(took < 1500, `${JSON.stringify(pattern)} took ${Math.round(took)} ms`);
    }
  }
});

test("deep nesting does not exhaust the stack", () => {
  drawn("> ".repeat(5000) + "x");
  drawn("- ".repeat(5000) + "x");
  drawn("*a _b ".repeat(3000), true);
  drawn(Array.from({ length: 2000 }, (_, n) => `${"  ".repeat(n)}- x`).join("\n"));
});
