"""What is read out of a prompt."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beatra_nb.sandbox.music import brief, lyrics, titles
from beatra_nb.sandbox.music.genres import BY_NAME, GENRES


@pytest.mark.parametrize(
    ("prompt", "seconds"),
    [
        ("30 seconds of rain", 30),
        ("a 12 s jingle", 12),
        ("a 12-second jingle", 12),
        ("one minute", 60),
        ("1:30", 90),
        ("two minutes and 10 seconds", 130),
        ("half a minute", 30),
        ("45 Sekunden", 45),
        ("about 2.5 minutes", 150),
        ("1 s", 2),
        ("99999 minutes", 240),
        ("drums from the 80s", None),
        ("1990s grunge", None),
        ("90s hip hop", None),
        ("60s soul", None),
        ("swing of the '20s", None),
        ("90s eurodance, 20 seconds", 20),
        ("grunge, 90 s", 90),
        ("30 sec", 30),
        ("a 10 second intro, 3 minutes long", 180),
        ("3 minutes with a 10 second intro", 180),
        ("a 10 second intro", 10),
        ("a second verse for my loved ones", None),
        ("jazz", None),
    ],
)
def test_length(prompt: str, seconds: float | None) -> None:
    assert brief.read(prompt).seconds == seconds


def test_a_length_given_apart_beats_the_prompt_and_is_kept_within_bounds() -> None:
    assert brief.read("one minute", seconds=7.5).seconds == 7.5
    assert brief.read("one minute", seconds=1e9).seconds == 240
    assert brief.read("one minute", seconds=-4).clipped


@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_every_genre_is_found_by_its_name_and_its_words(name: str) -> None:
    assert brief.read(f"some {name.upper()}, please").genre.name == name
    for word in BY_NAME[name].words:
        assert brief.read(word).genre.name == name, word


@pytest.mark.parametrize(
    ("prompt", "genre"),
    [
        ("dream pop, warm analog drums, bright chorus", "dream pop"),
        ("jazz piano", "jazz"),
        ("a piano, alone", "classical"),
        ("epic orchestral trailer", "cinematic"),
        ("エネルギッシュなロック", "rock"),
        ("джаз для вечера", "jazz"),
        ("not jazz, rock", "rock"),
        ("I don't like jazz, give me blues", "blues"),
        ("not jazz or blues, funk", "funk"),
        ("drum and bass", "techno"),
        ("reggaeton", "reggae"),
        ("gospel", "blues"),
        ("a waltz", "classical"),
        ("r&b", "hip-hop"),
        ("trap", "hip-hop"),
        ("90s grunge", "rock"),
        ("punk", "rock"),
        ("disco", "house"),
        ("60s soul", "funk"),
        ("edm", "house"),
        ("k-pop", "pop"),
        ("rocket science", "pop"),  # not rock: nothing is named, so one is chosen
    ],
)
def test_genre(prompt: str, genre: str) -> None:
    assert brief.read(prompt).genre.name == genre


@pytest.mark.parametrize(
    ("prompt", "tonic", "dark"),
    [
        ("in A minor", 9, True),
        ("in B♭ major", 10, False),
        ("Bb minor", 10, True),
        ("key of F# minor", 6, True),
        ("in a-Moll", 9, True),
        ("C major", 0, False),
        ("a major hit", None, None),
        ("a minor problem", None, None),
        ("in a minor key", None, True),
        ("in a minor", 9, True),
        ("a song in e minor", 4, True),
        ("in the key of c minor", 0, True),
        ("Bb blues", 10, None),
        ("a blues in G", 7, None),
        ("in E flat, slow", 3, None),
        ("in F#m", 6, True),
        ("in B-Dur", 10, False),
        ("in A world of rain", None, None),
        ("sad", None, True),
    ],
)
def test_key(prompt: str, tonic: int | None, dark: bool | None) -> None:
    found = brief.read(prompt)
    assert (found.tonic, found.dark) == (tonic, dark)


@pytest.mark.parametrize(
    ("prompt", "tempo"),
    [("104 bpm", 104), ("tempo: 96", 96), ("340 bpm", 170), ("0 bpm", None), ("9999999 bpm", None)],
)
def test_tempo(prompt: str, tempo: float | None) -> None:
    assert brief.read(prompt).tempo == tempo


def test_players_are_asked_for_and_declined() -> None:
    found = brief.read("pop with saxophone and strings, no drums, without bass")
    assert found.wanted["lead"] == ("saxophone",)
    assert found.wanted["pad"] == ("strings",)
    assert found.refused == {"drums", "bass"}
    assert "lead" not in brief.read("no saxophone").wanted


@pytest.mark.parametrize("pick", [0.0, 0.3, 0.6, 0.75, 0.99])
@pytest.mark.parametrize(
    ("prompt", "declined"), [("anything but metal", "metal"), ("not rock", "rock"), ("without pop", "pop")]
)
def test_a_declined_genre_is_not_played(prompt: str, declined: str, pick: float) -> None:
    found = brief.read(prompt, seed_pick=pick)
    assert found.genre.name != declined
    assert not found.named


def test_moods_steer() -> None:
    assert brief.read("not sad").dark is None
    calm, wild = brief.read("calm slow rock"), brief.read("wild fast rock")
    assert calm.energy < 0 < wild.energy
    assert calm.pace < 0 < wild.pace


@given(st.text(max_size=300), st.one_of(st.none(), st.floats(allow_nan=False)))
def test_whatever_is_written_makes_a_brief_and_a_title(prompt: str, seconds: float | None) -> None:
    found = brief.read(prompt, seconds=seconds)
    assert found.genre in GENRES
    assert found.seconds is None or 2 <= found.seconds <= 240
    name = titles.title(prompt, "", found)
    assert 0 < len(name) <= titles.MOST
    assert name.isprintable()
    assert name == titles.title(prompt, "", found)


@pytest.mark.parametrize(
    ("prompt", "words", "title"),
    [
        ("a song about the sea at night", "", "The Sea at Night"),
        ("pop", "[Verse]\nhello\n[Chorus]\nwe are the lights of town\n", "We Are the Lights"),
        ("", "", None),
    ],
)
def test_titles(prompt: str, words: str, title: str | None) -> None:
    made = titles.title(prompt, words, brief.read(prompt))
    assert made == title if title else made


def test_titles_carry_no_markup() -> None:
    assert not set("<>{}[]`") & set(titles.title("song about <script>alert(1)</script>", "", brief.read("")))


def test_lyrics_are_read_by_their_tags() -> None:
    found = lyrics.passages(
        "[Intro]\n[Verse 1]\na\nb\n\n[Pre-Chorus]\nc\n[CHORUS x2]\nd\n[Bridge: soft]\ne\n[Outro]\n"
    )
    assert [(each.kind, each.lines) for each in found] == [
        ("Intro", 0), ("Verse", 2), ("Pre-Chorus", 1), ("Chorus", 1), ("Bridge", 1), ("Outro", 0),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("[Guitar Solo]\n[Final Chorus]\na", [("Solo", 0), ("Chorus", 1)]),
        ("[Verse][Chorus]\na", [("Verse", 0), ("Chorus", 1)]),
        ("[Instrumental Intro]\n[Verse 1: rap]\na", [("Intro", 0), ("Verse", 1)]),
        ("[Verse]\na\n(hook me up)\n(ending the war)", [("Verse", 3)]),
        ("(Verse 2)\na\n(Chorus x2):\nb", [("Verse", 1), ("Chorus", 1)]),
        ("[Verse]\n[softly]\na", [("Verse", 1)]),
        ("[第二段主歌]\na", [("Verse", 1)]),
    ],
)
def test_tags_as_people_write_them(words: str, expected: list[tuple[str, int]]) -> None:
    assert [(each.kind, each.lines) for each in lyrics.passages(words)] == expected


def test_lyrics_without_tags_alternate_by_stanza() -> None:
    assert [each.kind for each in lyrics.passages("a\nb\n\nc\nd\n\ne")] == ["Verse", "Chorus", "Verse"]


@given(st.text(max_size=500))
def test_any_text_is_lyrics(text: str) -> None:
    lines = sum(passage.lines for passage in lyrics.passages(text))
    assert 0 <= lines <= text.count("\n") + text.count("\r") + 1
