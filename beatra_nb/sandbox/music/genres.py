"""Every genre that the composer plays."""

from __future__ import annotations

from beatra_nb.sandbox.music.genre import Genre
from beatra_nb.sandbox.music.genres_bands import BANDS
from beatra_nb.sandbox.music.genres_clubs import CLUBS
from beatra_nb.sandbox.music.genres_halls import HALLS

GENRES: tuple[Genre, ...] = (*BANDS, *CLUBS, *HALLS)
BY_NAME = {genre.name: genre for genre in GENRES}
