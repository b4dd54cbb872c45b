"""Accessibility of what stands in a page, by axe-core (installed by ``npm --prefix tests/js ci``).

``violations`` looks at parts of a page: those rules that only a whole page can keep are left out. Where axe cannot
tell what a text stands on, it says so, and that counts: a contrast that nobody has measured is not a good one.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

AXE = Path(__file__).parents[1] / "js" / "node_modules" / "axe-core" / "axe.min.js"
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
# What a front end or a page gives, not a part of it.
PAGE_RULES = [
    "bypass",
    "document-title",
    "html-has-lang",
    "landmark-one-main",
    "page-has-heading-one",
    "region",
]
# What axe cannot tell of a contrast without anything being wrong: a float stands beside the text in the same box, a
# single letter or sign may be a picture.
HARMLESS = ["elmPartiallyObscured", "shortTextContent", "nonBmp"]
# How high the page must be for all of it to be in sight: axe does not measure what is scrolled away.
HEIGHT = """nodes => Math.ceil(Math.max(0, ...nodes.map(node => {
    let bottom = node.getBoundingClientRect().bottom;
    for (let up = node.parentElement; up; up = up.parentElement ?? up.getRootNode().host) bottom += up.scrollTop;
    return bottom;
}))) + 60"""
# Scrolls all to the top, and waits until a front end has followed a new size of the page.
IN_SIGHT = """async nodes => {
    const cut = node => {
        const {bottom} = node.getBoundingClientRect();
        for (let up = node.parentElement; up; up = up.parentElement ?? up.getRootNode().host) {
            up.scrollTop = 0;
            const hides = up !== document.body && getComputedStyle(up).overflowY !== 'visible';
            if (hides && up.getBoundingClientRect().bottom + 1 < bottom) return true;
        }
        return false;
    };
    // What scrolls within a widget stays cut: there it ends when nothing has moved for a while.
    const places = () => nodes.map(node => {
        const bottoms = [];
        for (let up = node; up; up = up.parentElement ?? up.getRootNode().host)
            bottoms.push(up.getBoundingClientRect().bottom);
        return bottoms;
    }).join();
    let still = 0;
    for (let turn = 0, before = places(); turn < 60 && still < 12; turn++) {
        await new Promise(resolve => setTimeout(resolve, 50));
        if (!nodes.some(cut)) return;
        const now = places();
        still = now === before ? still + 1 : 0;
        before = now;
    }
}"""
RUN = """async ([nodes, tags, off, harmless]) => {
    // Transitions of a theme that has just changed would be measured half-way.
    await Promise.all(document.getAnimations().filter(one => one instanceof CSSTransition)
        .map(one => one.finished.catch(() => null)));
    const rules = Object.fromEntries(off.map(id => [id, {enabled: false}]));
    const options = {runOnly: {type: 'tag', values: tags}, rules, elementRef: true};
    // JupyterLab's body has no height and hides what overflows; all of the page stands outside of it, which axe takes
    // for hidden.
    const {minHeight} = document.body.style;
    document.body.style.minHeight = '100vh';
    const found = await axe.run(nodes ? {include: nodes} : document, options)
        .finally(() => { document.body.style.minHeight = minHeight; });
    const contrast = rule => rule.id === 'color-contrast';
    const key = node => [...node.any, ...node.all, ...node.none].map(check => check.data?.messageKey).find(Boolean);
    // In a table that is wider than its place, what sticks to an edge covers cells until they are scrolled to; they
    // were measured where the table had room.
    const covered = ['bgOverlap', 'emptyValue'];
    const scrolls = node => /auto|scroll/.test(getComputedStyle(node).overflowX);
    const wide = node => scrolls(node) && node.scrollWidth > node.clientWidth + 1;
    const aside = node => node?.nodeType === 1 && (wide(node) || aside(node.parentElement));
    const unclear = node => !harmless.includes(key(node)) && !(covered.includes(key(node)) && aside(node.element));
    const unknown = found.incomplete.filter(contrast).map(rule => ({...rule, nodes: rule.nodes.filter(unclear)}));
    const measured = [...found.violations, ...found.passes].filter(contrast).flatMap(rule => rule.nodes).length;
    if (!measured && (nodes ?? [document.body]).some(node => node.innerText?.trim()))
        throw new Error('axe takes all of the text for hidden: no contrast was measured');
    const lines = [...found.violations, ...unknown].flatMap(rule => rule.nodes.map(node => ({
        rule: rule.id,
        target: node.target.flat(9).join(' '),
        html: node.html,
        summary: [...node.any, ...node.all, ...node.none].map(check => check.message).join(' '),
    })));
    return {lines, measured};
}"""


def violations(page: Page, selector: str | None = None) -> list[str]:
    """Return what axe finds wrong, a line for each place: rule, target, what is the matter.

    Parameters
    ----------
    page : Page
        Any page, of any front end.
    selector : str, optional
        Which elements to look at, with all that they hold; by default the whole page. One that matches nothing is
        an error. It reaches into open shadow roots.
    """
    nodes = page.locator(selector or "body").element_handles()
    assert nodes, f"nothing on the page matches {selector}"
    if not page.evaluate("() => typeof window.axe === 'object'"):
        page.evaluate(_source())
    seen = page.viewport_size
    for _ in range(4 if seen else 0):  # what has never been in sight may be higher than it was taken for
        assert seen is not None
        height = max(seen["height"], page.evaluate(HEIGHT, nodes))
        page.set_viewport_size({"width": seen["width"], "height": height})
        page.evaluate(IN_SIGHT, nodes)
        if page.evaluate(HEIGHT, nodes) <= height:
            break
    found: dict[str, Any] = page.evaluate(
        RUN, [nodes if selector else None, TAGS, PAGE_RULES if selector else [], HARMLESS]
    )
    if seen is not None:
        page.set_viewport_size(seen)
    lines = [
        f"{one['rule']}: {one['target']}: {one['summary']} {one['html'][:200]}" for one in found["lines"]
    ]
    return sorted(dict.fromkeys(lines))


def assert_accessible(page: Page, selector: str | None = None) -> None:
    """Assert that axe finds nothing wrong."""
    found = violations(page, selector)
    assert not found, f"{len(found)} violations\n" + "\n".join(found[:40])


@functools.cache
def _source() -> str:
    if AXE.is_file():
        return AXE.read_text("utf-8")
    reason = "axe-core is not installed: `bash tests/run.sh`, or `npm --prefix tests/js ci`"
    if os.environ.get("CI", "").lower() in ("1", "true", "yes"):
        pytest.fail(reason)
    pytest.skip(reason)
