"""Sound and pictures → html: data URIs that survive untrusted notebooks, and the players around them.

Only ``<audio src>`` and ``<img src>`` with the bytes in them do: a notebook opened untrusted loses ``<source>``,
inline SVG and scripts. The bytes never pass through the writers of html: a player leaves a mark where they belong,
and they are put in at the end, so that the size of a view is known without them and nothing copies them about.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field

from beatra_nb.display.escapes import html_text
from beatra_nb.display.view import Audio, Columns, Image, Meter, Player, View

# What may stand in a data URI: nothing that a front end could take for a page.
SOUNDS = {
    "audio/mpeg": "audio/mpeg",
    "audio/mp3": "audio/mpeg",
    "audio/ogg": "audio/ogg",
    "application/ogg": "audio/ogg",
    "audio/opus": "audio/ogg",
    "audio/wav": "audio/wav",
    "audio/wave": "audio/wav",
    "audio/x-wav": "audio/wav",
    "audio/vnd.wave": "audio/wav",
    "audio/flac": "audio/flac",
    "audio/x-flac": "audio/flac",
    "audio/mp4": "audio/mp4",
    "audio/m4a": "audio/mp4",
    "audio/x-m4a": "audio/mp4",
    "audio/aac": "audio/aac",
    "audio/webm": "audio/webm",
}
_PICTURES = frozenset({"image/svg+xml", "image/png"})

_MARK = (
    "\0"  # stands where bytes belong; no text can hold one, because ``clean.visible`` turns it into a sign
)
_QUIET = "opacity:.72"


@dataclass(slots=True)
class Bytes:
    """The sounds of one output, in the order of their marks."""

    sounds: list[Audio] = field(default_factory=list)

    def fill(self, html: str) -> str:
        """Put the sounds where their marks are."""
        if not self.sounds:
            return html
        first, *rest = html.split(_MARK)
        parts = [first]
        for sound, after in zip(self.sounds, rest, strict=True):
            parts += (base64.b64encode(sound.data).decode("ascii"), after)
        return "".join(parts)


_current: ContextVar[Bytes] = ContextVar("beatra_bytes")


def gathering(write: Callable[[], str]) -> tuple[str, Bytes]:
    """Return what ``write`` returns, marks in the places of sounds, and the sounds."""
    token = _current.set(found := Bytes())
    try:
        return write(), found
    finally:
        _current.reset(token)


def sound_type(media_type: object) -> str:
    """Return the media type that a front end is told for a sound, or nothing for what is none.

    Examples
    --------
    >>> sound_type("Audio/MP3; x=1"), sound_type("text/html")
    ('audio/mpeg', '')
    """
    return SOUNDS.get(media_type.partition(";")[0].strip().lower(), "") if isinstance(media_type, str) else ""


def audio(view: Audio) -> str:
    """Write a sound."""
    kind = sound_type(view.media_type)
    if not kind:
        return f'<span style="{_QUIET}">{html_text(view.label)}: no sound that can be played here</span>'
    sounds = _current.get().sounds
    if any(view.data == other.data for other in sounds):
        return f'<span style="{_QUIET}">{html_text(view.label)}: the same sound as above</span>'
    sounds.append(view)
    name = html_text(view.label)
    style = "display:block;width:100%;max-width:100%;height:40px;margin:0"
    return f'<audio controls preload="auto" title="{name}" style="{style}" src="data:{kind};base64,{_MARK}"></audio>'


def image(view: Image) -> str:
    """Write a picture."""
    if view.media_type not in _PICTURES:
        return f"<span>{html_text(view.alt)}</span>"
    data = base64.b64encode(view.data).decode("ascii")
    style = "display:block;width:100%;max-width:100%;height:auto;margin:0"
    size = f'width="{int(view.width)}" height="{int(view.height)}"'
    return (
        f'<img alt="{html_text(view.alt)}" {size} style="{style}" src="data:{view.media_type};base64,{data}">'
    )


def meter(view: Meter) -> str:
    """Write how far something is."""
    percent = min(100.0, max(0.0, view.percent))
    label = html_text(f"{percent:.0f} %" + (f" · {view.label}" if view.label else ""))
    bar = "height:6px;border-radius:99px"
    return (
        f'<div style="{bar};background:rgba(128,128,128,.2);overflow:hidden">'
        f'<div style="width:{percent:.1f}%;{bar};background:rgba(47,128,237,.85)"></div></div>'
        f'<div dir="auto" style="margin:4px 0 0;font-size:.93em;{_QUIET}">{label}</div>'
    )


def player(view: Player, write: Callable[[View], str]) -> str:
    """Write a player: mark, title and time on one line, the waveform, the controls, and what is known of it."""
    mark = (
        '<span style="flex:none;min-width:1.5em;padding:0 .35em;border-radius:6px;text-align:center;'
        f'font-size:.86em;font-weight:700;background:rgba(47,128,237,.2)">{html_text(view.mark)}</span>'
        if view.mark
        else ""
    )
    time = (
        f'<span style="flex:none;font-size:.93em;font-variant-numeric:tabular-nums;{_QUIET}">'
        f"{html_text(view.time)}</span>"
        if view.time
        else ""
    )
    style = "flex:1 1 auto;min-width:0;font-weight:600;overflow-wrap:anywhere"
    title = f'<span dir="auto" style="{style}">{html_text(view.title)}</span>'
    head = f'<div style="display:flex;align-items:baseline;gap:8px">{mark}{title}{time}</div>'
    parts = [head]
    if view.wave is not None:
        parts.append(f'<div style="margin:8px 0 0">{image(view.wave)}</div>')
    if view.sound is not None:
        parts.append(f'<div style="margin:8px 0 0">{audio(view.sound)}</div>')
    if view.facts:
        facts = "".join(write(fact) for fact in view.facts)
        style = "display:flex;flex-wrap:wrap;gap:2px 14px;margin:8px 0 0;font-size:.86em"
        parts.append(f'<div style="{style}">{facts}</div>')
    parts += [f'<div style="margin:8px 0 0">{write(part)}</div>' for part in view.body]
    label = html_text(f"{view.mark} {view.title}".strip())
    return f'<div role="group" aria-label="{label}" style="max-width:560px">{"".join(parts)}</div>'


def columns(view: Columns, write: Callable[[View], str]) -> str:
    """Write things side by side, in frames of equal height."""
    widest = "100%" if len(view.items) > 1 else "590px"
    frame = (
        f"flex:1 1 280px;min-width:0;max-width:{widest};box-sizing:border-box;padding:12px 14px;"
        "border:1px solid rgba(128,128,128,.22);border-radius:8px;background:rgba(128,128,128,.05)"
    )
    items = "".join(f'<div style="{frame}">{write(item)}</div>' for item in view.items)
    return f'<div style="display:flex;flex-wrap:wrap;gap:12px;margin:4px 0 0">{items}</div>'
