"""Conversations as files."""

from __future__ import annotations

import json
import os
import stat
from decimal import Decimal
from pathlib import Path
from typing import Any

import nbformat
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import beatra_nb as bn
from beatra_nb.core.conversation import Turn
from tests.core.test_reply import ANY_TEXT, REPLIES

TURNS = st.lists(
    st.builds(lambda text, reply: Turn(text, reply, ({"role": "user", "content": text},)), ANY_TEXT, REPLIES),
    max_size=3,
)
FILES = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)


def chat_with(turns: list[Turn], **more: Any) -> bn.Chat:
    chat = bn.Chat(**more)
    chat._turns = tuple(turns)
    return chat


HELLO = Turn(
    "Hi", bn.Reply("Hello *you*", model="m", request_id="req_1"), ({"role": "user", "content": "Hi"},)
)


@FILES
@given(
    turns=TURNS,
    system=st.none() | ANY_TEXT,
    title=st.none() | ANY_TEXT,
    options=st.dictionaries(st.just("stop"), ANY_TEXT),
)
def test_saved_and_loaded_it_is_the_same(
    tmp_path: Path, turns: list[Turn], system: str | None, title: str | None, options: dict[str, str]
) -> None:
    chat = chat_with(turns, system=system, title=title, model="m", **options)
    path = chat.save(tmp_path / "c.json")
    again = bn.Chat.load(path)
    assert again.turns == chat.turns
    assert (again.system, again.title, again.model, again.defaults) == (system, title, "m", options)
    assert again.messages == chat.messages
    assert os.listdir(tmp_path) == ["c.json"] or set(os.listdir(tmp_path)) == {"c.json", "home"}


@FILES
@given(turns=TURNS, title=st.none() | ANY_TEXT)
@pytest.mark.parametrize("suffix", [".md", ".html", ".ipynb", ".HTML"])
def test_any_texts_can_be_exported(tmp_path: Path, suffix: str, turns: list[Turn], title: str | None) -> None:
    path = chat_with(turns, title=title, system="s").export(tmp_path / f"c{suffix}")
    text = path.read_text("utf-8")
    assert text
    if suffix == ".ipynb":
        nbformat.validate(nbformat.reads(text, as_version=4))


def test_what_is_exported_is_the_conversation(tmp_path: Path) -> None:
    chat = chat_with([HELLO], title="A title", system="Be brief.")
    for suffix in (".md", ".html", ".ipynb"):
        text = chat.export(tmp_path / f"c{suffix}").read_text("utf-8")
        for part in ("A title", "Be brief", "Hi", "Hello", "req"):
            assert part in text, (suffix, part)
    notebook = json.loads((tmp_path / "c.ipynb").read_text())
    assert {cell["cell_type"] for cell in notebook["cells"]} == {"markdown"}, "nothing in it runs"
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"


@pytest.mark.parametrize("name", ["c.pdf", "c", "c.json", ".md"])
def test_an_export_of_another_kind(tmp_path: Path, name: str) -> None:
    with pytest.raises(bn.InvalidInput, match=r"\.ipynb"):
        bn.Chat().export(tmp_path / name)


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = chat_with([HELLO]).save(tmp_path / "c.json")
    old = path.read_bytes()
    monkeypatch.setattr(
        os, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device"))
    )
    with pytest.raises(bn.InvalidInput, match="No space left"):
        bn.Chat().save(path)
    assert path.read_bytes() == old
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == ["c.json"]


@pytest.mark.parametrize("where", ["missing/c.json", ".", "a\0b"])
def test_a_place_that_cannot_be_written(tmp_path: Path, where: str) -> None:
    with pytest.raises(bn.InvalidInput, match="cannot be written"):
        bn.Chat().save(tmp_path / where)


@pytest.mark.skipif(os.name != "posix", reason="modes of POSIX")
def test_a_private_umask_is_respected_and_an_existing_mode_kept(tmp_path: Path) -> None:
    old = os.umask(0o077)
    try:
        path = bn.Chat().save(tmp_path / "c.json")
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        path.chmod(0o640)
        bn.Chat().save(path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
    finally:
        os.umask(old)


def test_classes_have_no_place_in_a_file(tmp_path: Path) -> None:
    with pytest.raises(bn.InvalidInput, match="schema"):
        bn.Chat(schema=int).save(tmp_path / "c.json")


def saved(tmp_path: Path) -> dict[str, Any]:
    reply = bn.Reply(
        "t",
        usage=bn.Usage(1, 2, 3, Decimal("0.5")),
        tool_calls=(bn.ToolCall("a", "b", "c"),),
        choices=("t", "u"),
        raw={"a": 1},
    )
    path = chat_with([Turn("p", reply, ({"role": "user", "content": "p"},))]).save(tmp_path / "good.json")
    return json.loads(path.read_text())  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "{}",
        '{"format": "other"}',
        "[" * 100_000,
        '{"format": "beatra_nb.chat", "version": 2}',
    ],
)
def test_a_file_that_is_something_else(tmp_path: Path, text: str) -> None:
    (tmp_path / "c.json").write_text(text)
    with pytest.raises(bn.InvalidInput):
        bn.Chat.load(tmp_path / "c.json")


def test_a_file_that_is_not_there_or_no_text(tmp_path: Path) -> None:
    with pytest.raises(bn.InvalidInput, match="cannot be read"):
        bn.Chat.load(tmp_path / "none.json")
    with pytest.raises(bn.InvalidInput, match="cannot be read"):
        bn.Chat.load(tmp_path)
    (tmp_path / "c.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(bn.InvalidInput):
        bn.Chat.load(tmp_path / "c.json")


def paths(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(path for key, each in inner for path in paths(each, (*at, key)))]


@FILES
@given(data=st.data())
def test_a_damaged_file_is_refused_or_makes_a_conversation_that_works(
    tmp_path: Path, data: st.DataObject
) -> None:
    document = saved(tmp_path)
    *way, last = data.draw(st.sampled_from(paths(document)[1:]))
    holder: Any = document
    for step in way:
        holder = holder[step]
    if data.draw(st.booleans()):
        del holder[last]
    else:
        holder[last] = data.draw(st.sampled_from([None, 5, "x", [], {}, [1], {"a": None}, True, -0.5, "NaN"]))
    (tmp_path / "c.json").write_text(json.dumps(document))
    try:
        chat = bn.Chat.load(tmp_path / "c.json")
    except bn.InvalidInput:
        return
    assert isinstance(chat.messages, list)
    assert repr(chat)
    assert chat.usage.total_tokens >= 0
    for suffix in (".md", ".ipynb"):
        chat.export(tmp_path / f"out{suffix}")
    chat.save(tmp_path / "again.json")
    assert bn.Chat.load(tmp_path / "again.json").turns == chat.turns
