// Adds copy buttons where scripts live. Where they do not, there is no dead button either.
(() => {
  /** @type {{querySelectorAll(query: string): NodeListOf<HTMLElement>} | null} */
  const root = document.currentScript && document.currentScript.parentElement;
  if (!root) return;
  /** @param {Element} node */
  const copy = async (node) => {
    try {
      await navigator.clipboard.writeText(node.textContent);
    } catch {
      const range = document.createRange();
      range.selectNodeContents(node);
      /** @type {any} null only where there is no page */
      const selection = getSelection();
      selection.removeAllRanges();
      selection.addRange(range);
      document.execCommand("copy");
    }
  };
  /** @param {Element} node @param {string} what */
  const button = (node, what) => {
    const made = document.createElement("button");
    made.type = "button";
    made.className = "bnb-copy";
    made.textContent = "copy";
    made.setAttribute("aria-label", "Copy " + what);
    made.onclick = async () => {
      await copy(node);
      made.textContent = "copied";
      setTimeout(() => (made.textContent = "copy"), 1500);
    };
    return made;
  };
  root.querySelectorAll(".bnb-id").forEach((id) => id.after(button(id, id.title || "id")));
  root.querySelectorAll(".bnb-code").forEach((pre) => {
    const box = document.createElement("div");
    box.className = "bnb-codebox";
    box.style.margin = pre.style.margin;
    pre.style.margin = "0";
    pre.replaceWith(box);
    box.append(pre, button(pre.firstElementChild || pre, "code"));
  });
})();
