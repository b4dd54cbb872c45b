"""Every view of the package in a real JupyterLab, light and dark: axe-core finds nothing wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.axe import assert_accessible, violations
from tests.browser.lab import Notebook

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

ROOT = Path(__file__).parents[2]
PARTS = ".jp-OutputArea-output :is(.bnb, .bnl, .bnt)"  # what of a page is ours
Open = Callable[..., Notebook]

ANSWER = """# A harbour

It lies in the *north*, see [the map](https://example.com/map) and `chart.py`; ~~not~~ **much** is known.

## What there is

1. a river with 12 boats
2. a market
   - [x] that met on Tuesdays
   - [ ] and no more

> Whoever comes by sea comes late.

| Ship | Tons |
|:-----|-----:|
| Alma | 1200 |

```python
@cached
def tons(name: str = "Alma", *, n=12) -> float:  # of all ships
    return sum(ship.tons for ship in SHIPS if ship.name == name) + 0.5
```

```diff
- old
+ new
```

The area is $\\\\pi r^2$, and مرحبا 日本語 🎵.
"""
STATIC = f"""
import sys; sys.path.insert(0, {str(ROOT)!r})
from IPython.display import display
from tests.display import gallery
ANSWER = '''{ANSWER}'''
things = gallery.filled("City Lights")
del things["unknown"]  # not ours: IPython shows it by itself
for kind in gallery.error_classes()[3:-1]:
    del things[kind.__name__]  # all errors are drawn by one hand
things |= {{
    "answer": gallery.reply(ANSWER, sandbox=True),
    "cut short": gallery.reply(ANSWER).with_(complete=False, cut_by="the connection failed"),
    "conversation": gallery.conversation(2, ANSWER, system="Be brief."),
    "task": gallery.task(),
    "task without its audio": gallery.task(here=False),
    **{{status: gallery.task(status) for status in ("queued", "running", "failed", "canceled")}},
}}
for thing in things.values():
    display(thing)
"""
LIVE = f"""
import threading
from beatra_nb.display import live_widget, task_widget, widgets
writing = live_widget.LiveAnswer(kernel_id=widgets.kernel_id(), sandbox=True)
state = dict(title="City Lights", stage="composing", message="Take 1", elapsed=3.0, expected=9.0, sandbox=True,
             attached=True, facts=["80 credits"], ids=[("task", "task_01J5ZKC3W8M2QX7N4B6D9F1H5T")])
known = task_widget.LiveTask(dict(state, percent=40), by_hand="interrupt", asked=threading.Event())
unknown = task_widget.LiveTask(dict(state, percent=None), by_hand="to cancel, interrupt the kernel (■)")
waiting = live_widget.LiveAnswer(kernel_id="", sandbox=False)
display(writing, known, unknown, waiting)
writing.grow('''{ANSWER}''', 120)
"""


def test_every_view_is_accessible(notebook: Open, page: Page) -> None:
    book = notebook([STATIC, LIVE, "len(things)"])
    book.run_all()
    expect(book.cell(1).locator(".bnl-body").first).to_contain_text("日本語")
    expect(book.cell(1).locator(":is(.bnl, .bnt)")).to_have_count(4)
    shown = book.cell(0).locator(".jp-OutputArea-output .bnb")
    assert shown.count() == int(book.outputs(2)[0]["text"]) > 40, "each is drawn as html"
    page.evaluate("() => document.querySelectorAll('.bnb details').forEach(one => { one.open = true })")
    for dark in (False, True):
        book.theme(dark=dark)
        assert_accessible(page, PARTS)


def test_axe_is_alive(page: Page) -> None:
    page.set_content(
        "<main><p style='color:#999;background:#fff'>pale</p><img src='data:image/png;base64,'>"
        "<div id=host></div></main>"
        "<script>host.attachShadow({mode: 'open'}).innerHTML = '<div class=inside><button></button></div>'</script>"
    )
    rules = {line.split(":")[0] for line in violations(page, "main")}
    assert rules == {"color-contrast", "image-alt", "button-name"}
    assert [line.split(":")[0] for line in violations(page, ".inside")] == ["button-name"]
    with pytest.raises(AssertionError, match="nothing on the page"):
        violations(page, ".absent")
