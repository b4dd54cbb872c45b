"""A view as a page of its own: one file, no script needed, nothing loaded, light and dark, fit for paper."""

from __future__ import annotations

import base64
import hashlib

from beatra_nb.display import html
from beatra_nb.display.clean import one_line
from beatra_nb.display.escapes import html_text
from beatra_nb.display.view import View


def page(view: View, title: str) -> str:
    """Return a standalone html page.

    The page's own policy forbids every outside resource and every script but the copy buttons' own, named by
    its hash.
    """
    script = html.asset("copy.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    name = html_text(one_line(title, 300))
    return (
        "<!DOCTYPE html>\n"
        '<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n<meta name="referrer" content="no-referrer">\n'
        f"<title>{name}</title>\n<style>{html.asset('page.css')}\n{html.asset('view.css')}</style>\n</head>\n"
        f'<body>\n<main dir="auto">\n{html.render(view, enhanced=False)}\n<script>{script}</script></main>\n'
        "</body>\n</html>\n"
    )
