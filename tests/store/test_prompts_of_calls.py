"""Which prompt a call was made from: a column that the journal got later."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from beatra_nb import display
from beatra_nb.store.journal import Journal
from beatra_nb.store.migrations import MIGRATIONS, migrate

from .test_journal import entry

LABEL = "translate@3f2a91c0"


def test_it_is_kept_searched_and_shown():
    journal = Journal.open()
    journal.record(entry(prompt=LABEL))
    journal.record(entry())
    assert [call.prompt for call in journal] == [None, LABEL]
    assert [call.prompt for call in journal.search("translate@")] == [LABEL]
    assert journal.search("3F2A").total == 1
    for text in (display.to_html(journal.view()), display.to_markdown(journal.view()), str(journal.view())):
        assert LABEL in text
    assert LABEL in display.to_plain(journal.search("3f2a")[0])
    assert str(journal.to_frame()["prompt"].dtype) == "string"


def test_where_no_call_has_one_there_is_no_column():
    journal = Journal.open()
    journal.record(entry())
    assert "Prompt" not in str(journal.view())


def test_rows_of_an_older_file_have_none(isolated: Path):
    before = next(at for at, step in enumerate(MIGRATIONS) if step.name == "prompts of calls")
    isolated.mkdir()
    with closing(sqlite3.connect(isolated / "journal.sqlite3", isolation_level=None)) as file:
        migrate(file, MIGRATIONS[:before])
        file.execute(
            "INSERT INTO calls (time, verb, status) VALUES ('2026-11-23T12:00:00+00:00', 'chat', 'ok')"
        )
    journal = Journal.open()
    assert [call.prompt for call in journal] == [None]
    journal.record(entry(prompt=LABEL))
    assert [call.prompt for call in journal] == [LABEL, None]


def test_long_and_odd_names_are_kept_in_short():
    Journal.open().record(entry(prompt="x\ud800" * 1000))
    [call] = Journal.open()
    assert call.prompt is not None
    assert len(call.prompt) <= 2000
