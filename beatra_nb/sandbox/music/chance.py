"""Randomness that is the same in every process: a stream of its own for every decision, from seed and labels."""

from __future__ import annotations

import hashlib
import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def number(seed: int, *labels: object) -> int:
    """Return 64 bits that depend on nothing but the seed and the labels (never on ``hash()``)."""
    text = "\x1f".join([str(seed), *(str(label) for label in labels)])
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest(), "big")


def stream(seed: int, *labels: object) -> random.Random:
    """Return a source of decisions.

    One stream for each decision keeps them apart: another drum fill does not change the melody.

    >>> stream(1, "drums").random() == stream(1, "drums").random() != stream(1, "lead").random()
    True
    """
    return random.Random(number(seed, *labels))  # noqa: S311 - music, not secrets


def noise(seed: int, *labels: object) -> np.random.Generator:
    """Return a source of noise."""
    import numpy as np

    return np.random.Generator(np.random.PCG64(number(seed, *labels)))
