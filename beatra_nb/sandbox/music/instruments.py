"""Instruments with pitch: each makes one note from its MIDI number, its velocity and a length.

A note is rendered as long as it may be held; whoever places it cuts it and lets it fade over the instrument's
release. Louder notes are brighter notes. Names end up in data (``genres``) and in what prompts may ask for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from beatra_nb.sandbox.music import basses, blown, keyboards, plucked
from beatra_nb.sandbox.music.tones import Samples

Render = Callable[[float, float, int], Samples]  # MIDI note, velocity 0–1, samples → (n,) or (2, n)


@dataclass(frozen=True, slots=True)
class Instrument:
    """A way to sound, and what a player must know of it.

    Attributes
    ----------
    render : callable
        Makes a note.
    release : float
        Seconds it takes to fade once it is let go.
    ring : float
        Longest useful note in seconds; plucked and struck notes end by themselves.
    low, high : int
        Its comfortable range as MIDI numbers.
    """

    render: Render
    release: float = 0.12
    ring: float = 12.0
    low: int = 36
    high: int = 96


INSTRUMENTS: dict[str, Instrument] = {
    "piano": Instrument(plucked.piano, 0.18, 5.0, 33, 100),
    "felt piano": Instrument(plucked.felt, 0.25, 4.0, 36, 92),
    "nylon guitar": Instrument(plucked.nylon, 0.12, 3.0, 40, 83),
    "acoustic guitar": Instrument(plucked.steel, 0.12, 3.2, 40, 83),
    "clean guitar": Instrument(plucked.clean_guitar, 0.12, 3.5, 40, 86),
    "funk guitar": Instrument(plucked.muted_guitar, 0.04, 0.6, 45, 84),
    "overdriven guitar": Instrument(plucked.power_guitar, 0.06, 3.0, 38, 62),
    "distorted guitar": Instrument(plucked.metal_guitar, 0.05, 3.0, 35, 58),
    "palm-muted guitar": Instrument(plucked.chug_guitar, 0.03, 0.4, 35, 58),
    "lead guitar": Instrument(plucked.lead_guitar, 0.1, 4.0, 55, 88),
    "harp": Instrument(plucked.harp, 0.3, 3.0, 40, 96),
    "banjo": Instrument(plucked.koto, 0.06, 1.0, 50, 86),
    "pizzicato": Instrument(plucked.pizzicato, 0.08, 0.8, 40, 90),
    "vibraphone": Instrument(plucked.vibraphone, 0.2, 3.0, 53, 89),
    "marimba": Instrument(plucked.marimba, 0.1, 1.0, 48, 92),
    "celesta": Instrument(plucked.celesta, 0.3, 2.0, 60, 101),
    "bells": Instrument(plucked.bell, 0.3, 3.0, 60, 98),
    "electric piano": Instrument(plucked.electric_piano, 0.14, 3.6, 36, 92),
    "flute": Instrument(blown.flute, 0.1, 8.0, 60, 93),
    "clarinet": Instrument(blown.clarinet, 0.08, 8.0, 52, 86),
    "saxophone": Instrument(blown.saxophone, 0.08, 8.0, 48, 79),
    "trumpet": Instrument(blown.trumpet, 0.07, 8.0, 55, 82),
    "brass": Instrument(blown.brass, 0.12, 8.0, 40, 77),
    "harmonica": Instrument(blown.harmonica, 0.06, 8.0, 55, 86),
    "melodica": Instrument(blown.melodica, 0.07, 8.0, 53, 86),
    "accordion": Instrument(blown.accordion, 0.08, 8.0, 48, 88),
    "violin": Instrument(blown.fiddle, 0.1, 8.0, 55, 91),
    "whistling": Instrument(blown.whistle, 0.09, 8.0, 65, 96),
    "strings": Instrument(blown.strings, 0.35, 10.0, 36, 91),
    "staccato strings": Instrument(blown.staccato_strings, 0.08, 0.7, 36, 86),
    "choir": Instrument(blown.choir, 0.35, 10.0, 45, 84),
    "organ": Instrument(keyboards.organ, 0.05, 10.0, 40, 88),
    "warm pad": Instrument(keyboards.warm_pad, 0.5, 12.0, 40, 84),
    "glass pad": Instrument(keyboards.glass_pad, 0.8, 12.0, 48, 91),
    "supersaw": Instrument(keyboards.supersaw, 0.14, 8.0, 43, 88),
    "synth pluck": Instrument(keyboards.pluck, 0.15, 1.2, 45, 96),
    "analog lead": Instrument(keyboards.square_lead, 0.1, 8.0, 52, 91),
    "saw lead": Instrument(keyboards.saw_lead, 0.1, 8.0, 52, 91),
    "soft lead": Instrument(keyboards.sine_lead, 0.18, 8.0, 57, 93),
    "house stab": Instrument(keyboards.stab, 0.06, 0.9, 45, 86),
    "electric bass": Instrument(basses.finger_bass, 0.07, 3.0, 28, 55),
    "picked bass": Instrument(basses.pick_bass, 0.05, 3.0, 28, 55),
    "slap bass": Instrument(basses.slap_bass, 0.04, 2.0, 28, 57),
    "double bass": Instrument(basses.upright_bass, 0.1, 2.0, 28, 55),
    "synth bass": Instrument(basses.synth_bass, 0.05, 6.0, 26, 52),
    "sub bass": Instrument(basses.sub_bass, 0.1, 6.0, 26, 47),
    "acid bass": Instrument(basses.acid_bass, 0.04, 3.0, 28, 55),
    "reese bass": Instrument(basses.reese_bass, 0.06, 6.0, 26, 48),
}
