"""What the composer's tests share: orders carried out, files decoded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

from beatra_nb.sandbox.music.compose import compose
from beatra_nb.sandbox.music.order import Order
from beatra_nb.sandbox.music.tones import Samples


def silent(percent: float, stage: str, message: str) -> None:
    """Nobody watches."""


def order(folder: Path, prompt: str, **rest: object) -> dict:
    """Carry out an order and return the answer."""
    folder.mkdir(parents=True, exist_ok=True)
    return compose(Order.of({"prompt": prompt, "folder": str(folder), **rest}), silent)


def decoded(path: Path) -> Samples:
    """Return a file's samples as ``(channels, samples)``."""
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    assert rate == 44_100
    return np.ascontiguousarray(samples.T)
