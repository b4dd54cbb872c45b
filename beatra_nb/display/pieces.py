"""Small parts that several views are made of: how much to show, figures in words, texts with a bound."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from beatra_nb.display.clean import one_line, safe_repr, safe_str
from beatra_nb.display.view import Badge, Code, Prose, Stack, Text, View


@dataclass(frozen=True, slots=True)
class Scope:
    """How much of an object to show.

    Attributes
    ----------
    room : int
        Characters of one text; the rest is counted.
    recent : int
        Turns of a conversation that are shown whole.
    listed : int
        Turns before those that are listed in excerpts; older ones are counted.
    rows : int
        Rows of a table.
    """

    room: int
    recent: int
    listed: int
    rows: int


NORMAL = Scope(room=60_000, recent=10, listed=100, rows=200)
LESS = Scope(room=16_000, recent=5, listed=40, rows=100)
BRIEF = Scope(room=2_000, recent=3, listed=20, rows=40)
WHOLE = Scope(room=10**9, recent=10**9, listed=0, rows=10**9)


def get(obj: object, name: str, default: Any = None) -> Any:  # noqa: ANN401
    """``getattr`` that never raises: a broken field must not cost the rest of the view."""
    try:
        return getattr(obj, name, default)
    except Exception:
        return default


def words(value: object) -> str:
    """Return a field as text; None as nothing."""
    return "" if value is None else safe_str(value)


def prose(text: object, scope: Scope, where: str) -> View:
    """Return model markdown, cut to the scope's room; ``where`` says how to reach the whole."""
    whole = words(text)
    if len(whole) <= scope.room:
        return Prose(whole)
    return Stack((Prose(whole[: scope.room]), _rest(len(whole) - scope.room, where)))


def plain(text: object, scope: Scope, where: str) -> View:
    """Return text as it stands, cut to the scope's room."""
    whole = words(text)
    if len(whole) <= scope.room:
        return Text(whole)
    return Stack((Text(whole[: scope.room]), _rest(len(whole) - scope.room, where)))


def _rest(count: int, where: str) -> Text:
    return Text(f"… {count:,} more characters are not shown here; {where} holds the whole text.", quiet=True)


def as_json(value: object, scope: Scope, label: str = "") -> Code:
    """Return data as JSON text; what is already text is set in order when it is JSON, else left as it stands."""
    if isinstance(value, str):
        text = value
        try:
            if len(value) <= scope.room:
                text = json.dumps(json.loads(value), indent=2, ensure_ascii=False)
        except (ValueError, RecursionError):
            pass
    else:
        try:
            text = json.dumps(value, indent=2, ensure_ascii=False, default=safe_str)
        except (ValueError, TypeError, RecursionError):
            text = safe_repr(value, scope.room)
    if len(text) > scope.room:
        text = f"{text[: scope.room]}\n… {len(text) - scope.room:,} more characters"
    return Code(text, "json", label)


def seconds(value: object) -> str:
    """Return a duration in words, or nothing for none."""
    if not isinstance(value, int | float) or not 0 < value < 10**7:
        return ""
    if value < 1:
        return f"{value * 1000:.0f} ms"
    if value < 100:
        return f"{value:.1f} s"
    return f"{int(value // 60)} min {int(value % 60):02d} s"


def figure(value: object) -> str:
    """Return a number as people write it: thousands apart, no trailing zeros, no exponent."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return one_line(words(value), 40)
    if isinstance(value, int):
        return (
            f"{value:,}"
            if abs(value) < 10**18
            else f"{value:.3e}"
            if abs(value) < 10**300
            else "a very large number"
        )
    number = value if isinstance(value, Decimal) else Decimal(repr(value))
    if not number.is_finite() or abs(number.adjusted()) > 15:
        return str(number)[:40]
    text = f"{number:,f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def clock(value: object) -> str:
    """Return the length of a piece of sound as players show it, or nothing for none: ``3:05``.

    Examples
    --------
    >>> clock(185.2), clock(6), clock(None)
    ('3:05', '0:06', '')
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 10**7:
        return ""
    minutes, left = divmod(max(1, round(value)) if value else 0, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{left:02d}" if hours else f"{minutes}:{left:02d}"


def size(value: object) -> str:
    """Return a number of bytes in words, or nothing for none: ``94 kB``, ``1.2 MB``."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 10**18:
        return ""
    if value < 1000:
        return f"{value:.0f} B"
    if value < 999_500:
        return f"{value / 1000:.0f} kB"
    return f"{value / 1e6:.1f} MB" if value < 999_950_000 else f"{value / 1e9:.1f} GB"


def credits_of(value: object) -> str:
    """Return credits in words, or nothing for none: ``80 credits``."""
    return "" if value is None else f"{figure(value)} {'credit' if value == 1 else 'credits'}"


def short_path(path: object) -> str:
    """Write a path without the user's name in it: a notebook is shown to others."""
    from beatra_nb.store.database import short

    return short(path) if isinstance(path, Path) else safe_str(path)


def usage_badges(usage: object, *, small: bool = False) -> list[View]:
    """Return tokens and credits, where they are known; the tokens alone when ``small``."""
    if usage is None:
        return []
    out: list[View] = []
    asked, answered = get(usage, "prompt_tokens", 0), get(usage, "completion_tokens", 0)
    if total := get(usage, "total_tokens", 0) or asked + answered:
        split = f" ({figure(asked)} in, {figure(answered)} out)" if (asked or answered) and not small else ""
        out.append(Badge("", f"{figure(total)} {'token' if total == 1 else 'tokens'}{split}"))
    credits = get(usage, "credits")
    if credits is not None and not small:
        dollars = get(usage, "credits_usd_reference")
        about = f" (≈ ${figure(dollars)})" if dollars is not None else ""
        out.append(Badge("", f"{figure(credits)} {'credit' if credits == 1 else 'credits'}{about}"))
    return out


def sandbox_badge(obj: object) -> list[View]:
    """Return the marks that nobody may take this for the live service, or for its answer of today."""
    sandbox: list[View] = [Badge("sandbox", tone="info")] if get(obj, "sandbox", False) is True else []
    return [*sandbox, *recorded_badge(obj)]


def recorded_badge(*objects: object) -> list[View]:
    """Return the mark of what is on a cassette, with the day; of several, the last one's."""
    moments = [moment for obj in objects if isinstance(moment := get(obj, "recorded"), datetime)]
    return [Badge("recorded", f"{max(moments):%Y-%m-%d}", tone="info")] if moments else []


def marks(badges: Iterable[View]) -> list[str]:
    """Return such marks as words, for a line of text or a page that is still being drawn."""
    return [f"{badge.label} {badge.value}".rstrip() for badge in badges if isinstance(badge, Badge)]


def id_badge(obj: object, label: str = "request id") -> list[View]:
    """Return the request id, to be taken along to support."""
    found = words(get(obj, "request_id"))
    return [Badge(label, found if len(found) <= 200 else one_line(found, 200), copy=True)] if found else []
