"""Peaks → a small picture of a waveform, in a translucent colour that reads on light and dark."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from beatra_nb.display.view import Image

BARS = 110
WIDTH, HEIGHT = 440, 56
_MIDDLE = HEIGHT / 2
_TALLEST = _MIDDLE - 2


def waveform(peaks: object, alt: str) -> Image | None:
    """Return the picture of some peaks, or None where there are none; its loudest place fills its height.

    Parameters
    ----------
    peaks : iterable of float or None
        Amplitudes from 0 to 1, evenly spread over the time.
    alt : str
        The picture in words.
    """
    if not isinstance(peaks, Iterable):
        return None
    values = [_amplitude(value) for value in islice(peaks, 100_000)]
    if not values:
        return None
    bars = [_part(values, at) for at in range(BARS)]
    loudest = max(0.05, *bars)  # silence stays flat
    # Squared: mastered music comes near its peak everywhere, and only its energy still tells verse from chorus.
    path = "".join(_bar(at, (value / loudest) ** 2) for at, value in enumerate(bars))
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" fill="none" '
        f'stroke-linecap="round" stroke-width="2.2" stroke="#2f80ed" stroke-opacity=".8"><path d="{path}"/></svg>'
    )
    return Image(svg.encode("ascii"), "image/svg+xml", alt, WIDTH, HEIGHT)


def _amplitude(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:  # nor NaN
        return 0.0
    return min(1.0, float(value))


def _part(values: list[float], at: int) -> float:
    """Return the mean of one bar's share of the time."""
    start = at * len(values) // BARS
    share = values[start : max(start + 1, (at + 1) * len(values) // BARS)]
    return sum(share) / len(share)


def _bar(at: int, value: float) -> str:
    half = max(0.5, value * _TALLEST)
    return f"M{(at + 0.5) * WIDTH / BARS:g} {_MIDDLE - half:.1f}v{2 * half:.1f}"
