"""What is written stays; whose it is not is refused, in plain words."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import beatra_nb as bn
from beatra_nb.store.checkpoint import PAGE, SCATTERED, UNASKED, Checkpoint, Kept, Move, Place

PRINT = {"prompt": "Where is {city}?", "model": "auto", "schema": None}


def row(position: int = 0, text: str | None = "Paris", **more: object) -> Kept:
    kept = Kept(position, b"digest", 0, True, text, "req_1", "m1", "0.25", 9, 5, 1, 0.5, None, 0)
    return kept._replace(**more)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cities.beatra"


def test_rows_are_read_back_as_they_were(path: Path) -> None:
    rows = [row(at, f"Answer {at}", error='["E"]' if at == 3 else None) for at in range(5)]
    with Checkpoint.open(path, PRINT) as kept:
        assert not kept.resumed
        kept.write(rows)
        run_id = kept.run_id
        assert (len(kept), kept.finished) == (5, 5)
    with Checkpoint.open(path, PRINT) as again:
        assert again.resumed
        assert again.run_id == run_id
        assert list(again) == rows
        assert again.page(3) == rows[3:]


TEXTS = st.text(st.characters(exclude_categories=()), max_size=40)


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 3 * PAGE), TEXTS, st.booleans()), max_size=60))
def test_any_row_survives(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, str, bool]]
) -> None:
    path = tmp_path_factory.mktemp("any") / "x.beatra"
    wanted = {}
    with Checkpoint.open(path, PRINT) as kept:
        for position, text, finished in rows:
            one = row(position, text, finished=finished)
            kept.write([one])
            wanted[position] = one
        got = {each.position: each for each in kept}
    assert list(got) == sorted(wanted)
    for position, one in wanted.items():
        assert got[position].finished == one.finished
        # Half a character is no text that a database takes.
        assert got[position].text == (one.text or "").encode("utf-8", "replace").decode()


def test_many_rows_come_in_pages(path: Path) -> None:
    rows = [row(at) for at in range(2 * PAGE + 7)]
    with Checkpoint.open(path, PRINT) as kept:
        kept.write(rows)
        assert len(kept.page(0)) == PAGE
        assert [each.position for each in kept] == list(range(len(rows)))


def test_a_row_that_was_asked_again_has_one_answer(path: Path) -> None:
    with Checkpoint.open(path, PRINT) as kept:
        kept.write([row(0, None, finished=False)])
        assert kept.finished == 0
        kept.write([row(0, "Paris")])
        assert [each.text for each in kept] == ["Paris"]


def test_answers_to_other_questions_stay_at_their_place(path: Path) -> None:
    rows = [row(0, str(at), body=at.to_bytes(2, "big")) for at in range(PAGE + 5)]
    last = row(1, "last")
    with Checkpoint.open(path, PRINT) as kept:
        for each in (rows, [last]):
            kept.write(each)
        assert kept.page(0) == rows, "a page ends with a position"
        assert list(kept) == [*rows, last]
        assert kept.find([(0, b"\0\2"), (1, b"\0\2")]) == {(0, b"\0\2"): rows[2]}


def test_a_row_that_moves_keeps_its_number(path: Path) -> None:
    with Checkpoint.open(path, PRINT) as kept:
        kept.write([row(3, "three"), row(4, "four", number=1), row(5, None, finished=False, number=UNASKED)])
        kept.write([row(3, "new", number=2)], [Move(b"digest", 3, 0)])
        assert [(each.position, each.text, each.number) for each in kept] == [
            (0, "three", 0),
            (3, "new", 2),
            (4, "four", 1),
            (5, None, UNASKED),
        ]
        places = [Place(b"digest", at, at < 5) for at in (5, 4, 3, 0)]
        assert kept.places() == places
        assert kept.places(3) == places[:3]
        assert sorted(kept.numbers()) == [(b"digest", 0), (b"digest", 1), (b"digest", 2)]
        kept.write([], [Move(b"digest", 0, 7), Move(b"digest", 3, 4)])  # a place that is taken is left alone
        assert [each.position for each in kept] == [3, 4, 5, 7]


def test_many_rows_are_moved_and_found_at_once(path: Path) -> None:
    count = 2 * SCATTERED + 7
    rows = [row(at, str(at), body=at.to_bytes(2, "big")) for at in range(count)]
    turned = [Move(each.body, each.position, count - 1 - each.position) for each in rows]
    with Checkpoint.open(path, PRINT) as kept:
        kept.write(rows)
        kept.write([], turned)
        found = kept.find([(move.after, move.body) for move in reversed(turned)])
        assert [each.text for each in found.values()] == [each.text for each in rows[::-1]]
        assert [each.text for each in kept] == [str(at) for at in range(count)][::-1]


def test_another_question_is_refused_and_says_what_changed(path: Path) -> None:
    Checkpoint.open(path, PRINT).close()
    with pytest.raises(bn.CheckpointError, match='model \\("auto" → "small"\\) changed') as caught:
        Checkpoint.open(path, {**PRINT, "model": "small"})
    assert "if_changed='apart'" in str(caught.value)
    with pytest.raises(bn.CheckpointError, match="asked something else: prompt changed"):
        Checkpoint.open(path, {**PRINT, "prompt": "Where in the world is {city}? " * 5})
    with pytest.raises(bn.CheckpointError, match=r'model \("auto" → nothing\), schema .* and seed'):
        Checkpoint.open(path, {"prompt": PRINT["prompt"], "schema": {"type": "object"}, "seed": 1})


def test_the_run_that_comes_nearest_says_what_changed(path: Path) -> None:
    Checkpoint.open(path, {**PRINT, "seed": 1}).close()
    Checkpoint.open(path, {"prompt": "Other", "model": "tiny"}, if_changed="apart").close()
    with pytest.raises(bn.CheckpointError, match=r"something else: seed \(1 → 2\) changed"):
        Checkpoint.open(path, {**PRINT, "seed": 2})
    with pytest.raises(bn.CheckpointError, match=r'something else: model \("tiny" → "small"\) changed'):
        Checkpoint.open(path, {"prompt": "Other", "model": "small"})


def test_runs_may_be_kept_apart_and_are_found_again(path: Path) -> None:
    with Checkpoint.open(path, PRINT) as one:
        one.write([row(0, "one")])
    other_print = {**PRINT, "model": "small"}
    with Checkpoint.open(path, other_print, if_changed="apart") as other:
        assert not other.resumed
        assert list(other) == []
        other.write([row(0, "other")])
    for fingerprint, text in ((PRINT, "one"), (other_print, "other")):
        with Checkpoint.open(path, fingerprint) as again:
            assert [each.text for each in again] == [text]


def test_the_order_of_a_fingerprint_means_nothing(path: Path) -> None:
    Checkpoint.open(path, {"a": {"x": 1, "y": 2}, "b": 2}).close()
    with Checkpoint.open(path, {"b": 2, "a": {"y": 2, "x": 1}}) as again:
        assert again.resumed


def test_one_run_at_a_time(path: Path) -> None:
    with Checkpoint.open(path, PRINT) as kept:
        kept.write([row(0)])
        with pytest.raises(bn.CheckpointError, match="in use by another run"):
            Checkpoint.open(path, PRINT)
        code = f"from beatra_nb.store.checkpoint import Checkpoint; Checkpoint.open({str(path)!r}, {PRINT!r})"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
        assert "CheckpointError" in done.stderr
        assert "in use by another run" in done.stderr
        kept.write([row(1)])
    with Checkpoint.open(path, PRINT) as again:
        assert len(again) == 2


CHILD = """
import sys
from tests.store.test_checkpoint import PRINT, row
from beatra_nb.store.checkpoint import Checkpoint
kept = Checkpoint.open(sys.argv[1], PRINT)
for at in range(100_000):
    kept.write([row(2 * at), row(2 * at + 1)])
    print(at, flush=True)
"""


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL")
def test_what_was_written_outlives_the_process(path: Path) -> None:
    at = -1
    for _ in range(3):
        with subprocess.Popen(
            [sys.executable, "-c", CHILD, str(path)], stdout=subprocess.PIPE, text=True
        ) as child:
            assert child.stdout is not None
            for line in child.stdout:
                at = int(line)
                if at >= 5:
                    child.send_signal(signal.SIGKILL)
                    break
        with Checkpoint.open(path, PRINT) as kept:
            positions = [each.position for each in kept]
            assert positions == list(range(len(positions)))
            assert len(positions) % 2 == 0, "half a group was written"
            assert len(positions) >= 2 * (at + 1)


def test_it_is_one_file_for_its_owner_alone(path: Path) -> None:
    with Checkpoint.open(path, PRINT) as kept:
        kept.write([row(0)])
    assert [each.name for each in path.parent.glob("cities*")] == [path.name]
    if os.name != "nt":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_folders_are_made(tmp_path: Path) -> None:
    with Checkpoint.open(tmp_path / "a" / "b" / "c.beatra", PRINT) as kept:
        assert kept.path.exists()


def test_what_is_no_checkpoint_is_left_alone(path: Path) -> None:
    path.write_text("city,country\nParis,France\n" * 100)
    before = path.read_bytes()
    with pytest.raises(bn.CheckpointError, match="not a checkpoint"):
        Checkpoint.open(path, PRINT)
    assert path.read_bytes() == before


def test_another_program_s_database_is_left_alone(path: Path) -> None:
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE cities (name TEXT)")
    other.close()
    before = path.read_bytes()
    with pytest.raises(bn.CheckpointError, match="something else"):
        Checkpoint.open(path, PRINT)
    assert path.read_bytes() == before


def test_a_later_version_is_told(path: Path) -> None:
    Checkpoint.open(path, PRINT).close()
    other = sqlite3.connect(path)
    other.execute("PRAGMA user_version = 99")
    other.close()
    with pytest.raises(bn.CheckpointError, match="later version"):
        Checkpoint.open(path, PRINT)


def test_an_earlier_version_is_told(path: Path) -> None:
    Checkpoint.open(path, PRINT).close()
    other = sqlite3.connect(path)
    other.execute("PRAGMA user_version = 1")
    other.close()
    with pytest.raises(bn.CheckpointError, match="an earlier version of beatra_nb"):
        Checkpoint.open(path, PRINT)


def test_a_damaged_file_is_told(path: Path) -> None:
    with Checkpoint.open(path, PRINT) as kept:
        kept.write([row(at, "x" * 500) for at in range(200)])
    data = bytearray(path.read_bytes())
    data[4096:40960] = b"\xff" * (40960 - 4096)
    path.write_bytes(data)
    with pytest.raises(bn.CheckpointError, match="damaged"), Checkpoint.open(path, PRINT) as kept:
        list(kept)


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(bn.CheckpointError, match="cannot write"):
        Checkpoint.open(tmp_path / "file" / "c.beatra", PRINT)


@pytest.mark.parametrize("wrong", ["", "a\0b", None, 5])
def test_what_is_no_path_is_refused(wrong: object) -> None:
    with pytest.raises(bn.InvalidInput, match="path"):
        Checkpoint.open(wrong, PRINT)  # type: ignore[arg-type]


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(bn.InvalidInput, match="is a folder") as caught:
        Checkpoint.open(tmp_path, PRINT)
    assert str(tmp_path / "batch.beatra") in str(caught.value.hint)


def test_a_closed_one_says_so(path: Path) -> None:
    kept = Checkpoint.open(path, PRINT)
    kept.close()
    kept.close()
    assert "closed" in repr(kept)
    with pytest.raises(bn.CheckpointError, match="is closed"):
        kept.write([row(0)])


def test_all_rows_of_a_group_or_none(path: Path) -> None:
    with Checkpoint.open(path, PRINT) as kept:
        bad = row(1)._replace(body=None)  # type: ignore[arg-type]
        with pytest.raises(bn.CheckpointError):
            kept.write([row(0), bad])
        assert len(kept) == 0
        kept.write([row(0)])
        assert len(kept) == 1
