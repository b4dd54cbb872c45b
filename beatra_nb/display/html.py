"""View → html.

What is written here must look right where most of it is taken away: in a notebook that somebody else wrote,
JupyterLab strips style sheets, scripts and ``aria-*``. So the look is inline, in greys that suit light and dark,
and the text keeps the colour the front end gives it. The style sheet and the copy buttons only add to that.
Nothing is ever loaded from outside.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from importlib import resources
from typing import Any

from beatra_nb.display import media_html, prose
from beatra_nb.display.clean import visible
from beatra_nb.display.escapes import html_text
from beatra_nb.display.media_html import Bytes
from beatra_nb.display.view import (
    Audio,
    Badge,
    Card,
    Code,
    Columns,
    Details,
    Fields,
    Image,
    Marked,
    Message,
    Meter,
    Note,
    Player,
    Prose,
    Row,
    Stack,
    Table,
    Text,
    Tone,
    View,
)

_RGB = {
    "plain": "128,128,128",
    "info": "47,128,237",
    "good": "46,160,67",
    "warn": "210,140,0",
    "bad": "218,54,51",
}
_QUIET = "opacity:.72"
_LINE = "1px solid rgba(128,128,128,.22)"
_GRID = (
    "margin:0;border-collapse:collapse;table-layout:auto"  # JupyterLab would make all columns equally wide
)
_WRAP = "white-space:pre-wrap;overflow-wrap:anywhere"


def render(view: View, *, enhanced: bool = True) -> str:
    """Return a view as one self-contained piece of html.

    Parameters
    ----------
    view : View
        What is to be seen.
    enhanced : bool
        Whether to add the style sheet and the copy buttons; a page that holds several views brings its own.
    """
    html, embedded = draft(view, enhanced=enhanced)
    return embedded.fill(html)


def draft(view: View, *, enhanced: bool = True) -> tuple[str, Bytes]:
    """Return the html with marks in the places of sounds, and the sounds: its size is known without theirs."""
    # Front ends look for formulas in whatever they show: the classes shut that off, a formula opens it for itself.
    head = '<div class="bnb tex2jax_ignore mathjax_ignore" style="max-width:920px;line-height:1.55">'
    extra = f"<style>{asset('view.css')}</style><script>{asset('copy.js')}</script>" if enhanced else ""
    inner, embedded = media_html.gathering(lambda: _html(view))
    return f"{head}{inner}{extra}</div>", embedded


@lru_cache(maxsize=8)
def asset(name: str) -> str:
    """Return a style sheet or script of this package, its indentation and its comments' lines taken out."""
    source = resources.files("beatra_nb.display").joinpath("assets", name).read_text(encoding="utf-8")
    if name.endswith(".css"):
        source = source[source.index("*/") + 2 :] if source.startswith("/*") else source
    return "\n".join(
        line for raw in source.splitlines() if (line := raw.strip()) and not line.startswith(("//", "/**"))
    )


def _html(view: View) -> str:
    return _WRITERS[type(view)](view)


def _text(view: Text) -> str:
    style = _WRAP + (";font-weight:600" if view.strong else "") + (f";{_QUIET}" if view.quiet else "")
    return f'<span dir="auto" style="{style}">{html_text(view.text)}</span>'


def _marked(view: Marked) -> str:
    mark = f"padding:.05em .3em;border-radius:4px;background:rgba({_RGB['info']},.16);font-weight:600"
    pieces = "".join(
        f'<span style="{mark}">{html_text(piece)}</span>' if out else html_text(piece)
        for piece, out in view.pieces
    )
    return f'<span dir="auto" style="{_WRAP}">{pieces}</span>'


def _block(view: View) -> str:
    """Give a small thing a line of its own."""
    inner = _html(view)
    return f'<div dir="auto">{inner}</div>' if isinstance(view, Text | Marked) else inner


def _prose(view: Prose) -> str:
    return f'<div class="bnb-prose" style="overflow-wrap:anywhere">{prose.to_html(view.text)}</div>'


def _code(view: Code) -> str:
    label = (
        f'<div style="margin:0 0 4px;font-size:.86em;{_QUIET}">{html_text(view.label)}</div>'
        if view.label
        else ""
    )
    return label + prose.fence_html(visible(view.text), view.language)


def _badge(view: Badge, wrap: str = f";{_WRAP}") -> str:
    if view.copy:
        name = html_text(view.label)
        label = f'<span style="{_QUIET}">{name}</span> ' if name else ""
        code = f"padding:.1em .4em;border-radius:4px;background:rgba(128,128,128,.15);font-size:.96em{wrap}"
        ident = f'<code class="bnb-id" title="{name or "id"}" style="{code}">{html_text(view.value)}</code>'
        return f"<span>{label}{ident}</span>"
    if view.tone == "plain":
        parts = [f'<span style="{_QUIET}">{html_text(view.label)}</span>'] if view.label else []
        parts += [f'<span dir="auto" style="opacity:.9">{html_text(view.value)}</span>'] if view.value else []
        return f'<span style="overflow-wrap:anywhere">{" ".join(parts)}</span>'
    text = html_text(f"{view.label} {view.value}".strip())
    return f'<span class="bnb-badge" style="{_pill(view.tone)}">{text}</span>'


def _pill(tone: Tone) -> str:
    rgb = _RGB[tone]
    return (
        f"padding:.05em .6em;border:1px solid rgba({rgb},.5);border-radius:99px;background:rgba({rgb},.14);"
        "font-size:.92em;overflow-wrap:anywhere"
    )


def _row(view: Row) -> str:
    items = "".join(_html(item) for item in view.items)
    return f'<div style="display:flex;flex-wrap:wrap;align-items:center;gap:4px 14px">{items}</div>'


def _stack(view: Stack) -> str:
    items = [_block(item) for item in view.items]
    return "".join(
        f'<div style="margin:{"0" if at == 0 else "10px 0 0"}">{item}</div>' for at, item in enumerate(items)
    )


def _note(view: Note) -> str:
    rgb = _RGB[view.tone]
    style = (
        f"padding:6px 12px;border-left:3px solid rgba({rgb},.75);border-radius:4px;background:rgba({rgb},.1)"
    )
    if view.tone == "plain":  # worth knowing, and no more
        style = f"padding:2px 12px;border-left:3px solid rgba({rgb},.4);font-size:.93em;{_QUIET}"
    return f'<div role="note" dir="auto" style="{style};{_WRAP}">{html_text(view.text)}</div>'


def _fields(view: Fields) -> str:
    side = "border:0;text-align:left;vertical-align:top"
    name_style = f"padding:2px 18px 2px 0;{side};font-weight:400;white-space:nowrap"
    rows = "".join(
        f'<tr style="background:transparent"><th scope="row" style="{name_style}">'
        f'<span style="{_QUIET}">{html_text(name)}</span></th>'
        f'<td style="padding:2px 0;{side};overflow-wrap:anywhere">{_block(value)}</td></tr>'
        for name, value in view.rows
    )
    return f'<table style="{_GRID};font-size:1em"><tbody>{rows}</tbody></table>'


def _table(view: Table) -> str:
    base = "padding:5px 14px 5px 0;border:0;vertical-align:top;text-align:"
    flush = [
        ("right", ' class="bnb-fig"') if at in view.figures else ("left", "") for at in range(len(view.head))
    ]
    rule = "border-bottom:1px solid rgba(128,128,128,.4);font-weight:600;white-space:nowrap"
    head = "".join(
        f'<th scope="col"{mark} style="{base}{side};{rule}">{html_text(name)}</th>'
        for name, (side, mark) in zip(view.head, flush, strict=True)
    )
    body = "".join(
        '<tr style="background:transparent">'
        + "".join(
            f'<td dir="auto"{mark} style="{base}{side};border-bottom:{_LINE};{_breaking(value, bool(mark))}">'
            f"{_cell(value)}</td>"
            for value, (side, mark) in zip(row, flush, strict=False)
        )
        + "</tr>"
        for row in view.rows
    )
    label = f' aria-label="{html_text(view.label)}"' if view.label else ""
    return (
        f'<div tabindex="0" role="group"{label} style="overflow-x:auto">'
        f'<table style="{_GRID};width:100%;font-size:.93em"><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _breaking(value: View, is_figure: bool) -> str:
    """Keep figures and short words on one line; what is longer makes room, so that no column falls out of sight."""
    if isinstance(value, Badge):
        return "overflow-wrap:anywhere;min-width:6em" if value.copy else "white-space:nowrap"
    if isinstance(value, Text) and (is_figure or len(value.text) <= 16):
        return "white-space:nowrap"
    return "white-space:normal;overflow-wrap:anywhere;min-width:6em"


def _cell(value: View) -> str:
    if isinstance(value, Badge):
        return _badge(value, wrap="")
    if not isinstance(value, Text):
        return _html(value)
    style = ";".join(
        part for part in ("font-weight:600" if value.strong else "", _QUIET if value.quiet else "") if part
    )
    text = html_text(value.text)
    return f'<span style="{style}">{text}</span>' if style else text


def _details(view: Details) -> str:
    return (
        f'<details><summary style="{_QUIET};font-size:.93em">{html_text(view.summary)}</summary>'
        f'<div style="margin:8px 0 2px">{_block(view.body)}</div></details>'
    )


def _message(view: Message) -> str:
    mine = "margin:22px 0 0;padding:8px 14px;border-radius:10px;background:rgba(128,128,128,.1)"
    frame = mine if view.mine else "padding:0 14px"
    footer = (
        f'<div style="margin:6px 0 0;font-size:.84em;opacity:.92">{_html(view.footer)}</div>'
        if view.footer
        else ""
    )
    return (
        f'<div role="group" aria-label="{html_text(view.role)}" style="{frame}">'
        f'<div style="margin:0 0 2px;font-size:.84em;font-weight:600;{_QUIET}">{html_text(view.role)}</div>'
        f"{_block(view.body)}{footer}</div>"
    )


def _card(view: Card) -> str:
    above = "6px" if view.title else "12px"
    edge = "" if view.tone == "plain" else f";border-left:4px solid rgba({_RGB[view.tone]},.8)"
    title = (
        f'<div style="padding:10px 16px 0;font-size:1.05em">{_block(view.title)}</div>' if view.title else ""
    )
    footer = (
        f'<div style="padding:6px 16px;border-top:{_LINE};background:rgba(128,128,128,.05);font-size:.86em">'
        f"{_html(view.footer)}</div>"
        if view.footer
        else ""
    )
    return (
        f'<div class="bnb-card" role="group" aria-label="{html_text(view.label)}" '
        f'style="margin:2px 0;border:1px solid rgba(128,128,128,.28){edge};border-radius:10px;overflow:hidden">'
        f'{title}<div style="padding:{above} 16px 12px">{_block(view.body)}</div>{footer}</div>'
    )


_WRITERS: dict[type, Callable[[Any], str]] = {
    Text: _text,
    Marked: _marked,
    Prose: _prose,
    Code: _code,
    Badge: _badge,
    Row: _row,
    Stack: _stack,
    Note: _note,
    Fields: _fields,
    Table: _table,
    Details: _details,
    Message: _message,
    Card: _card,
    Audio: media_html.audio,
    Image: media_html.image,
    Meter: media_html.meter,
    Player: lambda view: media_html.player(view, _block),
    Columns: lambda view: media_html.columns(view, _block),
}
