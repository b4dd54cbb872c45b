"""A directory of prompts: found by name, called, read anew, and never anything outside it."""

from __future__ import annotations

import copy
import json
import os
import pickle
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import beatra_nb as bn
from beatra_nb.core.flow import Call
from beatra_nb.core.prompt_dir import MOST

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three prompts, one of them in a folder."""
    root = tmp_path / "prompts"
    (root / "mail").mkdir(parents=True)
    bn.Prompt("Say the word {word} in French.", system="One word.", name="Word → French").save(
        root / "translate.json"
    )
    bn.Prompt("Write a postcard from {place}.", temperature=0.7).save(root / "postcard.json")
    bn.Prompt("Welcome {name}.", model="sandbox-scripted").save(root / "mail" / "welcome.json")
    return root


@pytest.fixture
def library(folder: Path) -> bn.PromptLibrary:
    return bn.prompts(folder)


def test_it_is_a_mapping(library: bn.PromptLibrary, folder: Path) -> None:
    assert list(library) == ["mail/welcome", "postcard", "translate"]
    assert len(library) == 3
    assert "mail/welcome" in library
    assert "welcome" not in library
    assert 3 not in library
    assert library["translate"].variables == ("word",)
    assert library["mail/welcome"].model == "sandbox-scripted"
    assert dict(library)["postcard"].temperature == 0.7
    assert library.get("nothing") is None
    assert next(iter(library.values())).user == "Welcome {name}."
    assert library.path == folder
    assert library.broken == {}
    assert repr(library) == f"PromptLibrary({str(folder)!r})"
    assert library == bn.prompts(str(folder))


def test_names_are_attributes_too(library: bn.PromptLibrary) -> None:
    assert library.translate == library["translate"]
    assert library.mail.welcome == library["mail/welcome"]
    assert list(library.mail) == ["welcome"]
    assert {"translate", "mail", "items", "broken"} <= set(dir(library))
    assert not hasattr(library, "nothing")
    assert not hasattr(library, "_ipython_canary_method_should_not_exist_")
    assert library._ipython_key_completions_() == list(library)


@pytest.mark.parametrize("name", ["keys", "items", "values", "get"])
def test_a_prompt_that_is_called_like_a_method_takes_it_from_nobody(
    library: bn.PromptLibrary, folder: Path, name: str
) -> None:
    before = dict(library)
    bn.Prompt("Find {word}.").save(folder / f"{name}.json")
    assert library[name].user == "Find {word}."
    assert dict(library).keys() == {*before, name} == set(library.keys())
    assert dict(library.items()) == dict(library)
    assert library[name] in library.values()
    assert library.get(name) == library[name]
    assert library.get("nothing", default=3) == 3
    assert {**library}[name] == library[name]
    method = getattr(library, name)
    for ask in (lambda: method(word="x"), lambda: method({"word": "x"}, 1, 2), lambda: method.variables):
        with pytest.raises(bn.UnknownPrompt, match=rf"library\['{name}'\]"):
            ask()
    assert name in dir(library)
    with pytest.raises(TypeError):
        bn.prompts(folder / "mail").keys(word="x")  # type: ignore[call-arg]


def test_an_unknown_name_says_what_is_nearest(library: bn.PromptLibrary) -> None:
    for look in (lambda: library["translat"], lambda: library.translat):
        with pytest.raises(bn.UnknownPrompt, match="Did you mean 'translate'") as caught:
            look()
    assert isinstance(caught.value, KeyError | AttributeError)
    assert str(caught.value).startswith("There is no prompt 'translat'")
    with pytest.raises(bn.UnknownPrompt, match="Did you mean 'mail/welcome'"):
        library["welcome"]
    with pytest.raises(bn.UnknownPrompt, match="not by int"):
        library[3]  # type: ignore[index]
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_an_empty_directory_says_how_a_prompt_gets_there(tmp_path: Path) -> None:
    library = bn.prompts(tmp_path)
    assert len(library) == 0
    with pytest.raises(bn.UnknownPrompt, match=r"prompt\.save"):
        library["translate"]


def test_no_directory(tmp_path: Path) -> None:
    with pytest.raises(bn.InvalidInput, match="no directory"):
        bn.prompts(tmp_path / "nowhere")
    with pytest.raises(bn.InvalidInput, match="no directory"):
        bn.prompts("a\0b")
    with pytest.raises(bn.InvalidInput, match="usable path"):
        bn.prompts(3)  # type: ignore[arg-type]
    file = bn.Prompt("Hi").save(tmp_path / "hi.json")
    with pytest.raises(bn.InvalidInput, match=r"Prompt\.load"):
        bn.prompts(file)


def test_a_broken_file_names_file_and_field_and_stops_no_other(
    library: bn.PromptLibrary, folder: Path
) -> None:
    (folder / "broken.json").write_text('{"beatra_prompt": 1, "usr": "Hi"}', "utf-8")
    (folder / "mail" / "torn.json").write_text('{"beatra_prompt": 1, "user"', "utf-8")
    (folder / "data.json").write_text("[1, 2]", "utf-8")
    assert list(library) == ["mail/welcome", "postcard", "translate"]
    assert len(library) == 3
    assert "broken" not in library
    assert list(library.broken) == ["broken", "data", "mail/torn"]
    with pytest.raises(bn.InvalidInput) as caught:
        library["broken"]
    assert str(folder / "broken.json") in str(caught.value)
    assert "'usr'" in str(caught.value)
    assert "'user'" in str(caught.value)
    with pytest.raises(bn.InvalidInput, match="line 1"):
        library.mail.torn  # noqa: B018
    bn.Prompt("Mended").save(folder / "broken.json", overwrite=True)
    assert library.broken.keys() == {"data", "mail/torn"}
    assert library.broken["data"] is library.broken["data"], "read once"
    assert library["broken"].user == "Mended"


def test_a_file_that_changed_is_read_anew_and_that_is_said(
    library: bn.PromptLibrary, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = library.translate
    assert library.translate is before, "an unchanged file is read once"
    before.replace(notes="only for people").save(folder / "translate.json", overwrite=True)
    assert library.translate.notes == "only for people"
    assert capsys.readouterr().err == "", "what is sent is the same"
    before.replace(user="Say {word} in Italian.").save(folder / "translate.json", overwrite=True)
    after = library.translate
    assert after.user == "Say {word} in Italian."
    told = capsys.readouterr().err
    assert "'translate'" in told
    assert before.version in told
    assert after.version in told
    (folder / "translate.json").unlink()
    assert "translate" not in library
    bn.Prompt("New").save(folder / "new.json")
    assert list(library) == ["mail/welcome", "new", "postcard"]


def test_it_may_be_pickled_and_copied(library: bn.PromptLibrary) -> None:
    for other in (pickle.loads(pickle.dumps(library)), copy.copy(library), copy.deepcopy(library)):
        assert other == library
        assert list(other) == list(library)


# ── names that lead astray ──

ASTRAY = [
    "../secret", "..", ".", "", "/etc/passwd", "mail/../../secret", "mail//welcome", "mail/./welcome",
    "C:\\secret", "mail\\welcome", "a\0b", "x" * 5000, "C:secret", "/" * 40, "translate/",
]  # fmt: skip


@pytest.mark.parametrize("name", ASTRAY)
def test_no_name_leads_out(library: bn.PromptLibrary, folder: Path, name: str) -> None:
    bn.Prompt("Out of reach").save(folder.parent / "secret.json")
    assert name not in library
    with pytest.raises(bn.UnknownPrompt):
        library[name]


@given(st.text(st.sampled_from("./\\ab~:\0é"), max_size=30))
def test_no_text_at_all_leads_out(name: str) -> None:
    library = bn.prompts(Path(__file__).parent)
    assert name not in library


@POSIX
def test_links_out_are_refused_and_links_inside_are_not(library: bn.PromptLibrary, folder: Path) -> None:
    outside = folder.parent / "outside"
    outside.mkdir()
    bn.Prompt("Out of reach").save(outside / "secret.json")
    (folder / "leak.json").symlink_to(outside / "secret.json")
    (folder / "gate").symlink_to(outside, target_is_directory=True)
    (folder / "loop").symlink_to(folder, target_is_directory=True)
    (folder / "dangling.json").symlink_to(outside / "nothing.json")
    (folder / "again.json").symlink_to(folder / "translate.json")
    for name in ("leak", "gate/secret", "dangling"):
        assert name not in library
        with pytest.raises(bn.UnknownPrompt):
            library[name]
    with pytest.raises(bn.UnknownPrompt):
        library.gate  # noqa: B018
    assert list(library) == ["again", "mail/welcome", "postcard", "translate"]
    assert {"leak", "dangling"} <= library.broken.keys()
    assert "leak.json" in library.broken["leak"].message


@POSIX
def test_a_directory_that_is_reached_by_a_link_is_one(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(folder, target_is_directory=True)
    assert list(bn.prompts(tmp_path / "link")) == list(bn.prompts(folder))


@POSIX
def test_what_never_ends_is_not_read(library: bn.PromptLibrary, folder: Path) -> None:
    os.mkfifo(folder / "pipe.json")
    (folder / "folder.json").mkdir()
    assert list(library) == ["mail/welcome", "postcard", "translate"]
    assert "no file" in library.broken["pipe"].message


def test_hidden_folders_hold_no_prompts(library: bn.PromptLibrary, folder: Path) -> None:
    (folder / ".ipynb_checkpoints").mkdir()
    bn.Prompt("A copy").save(folder / ".ipynb_checkpoints" / "translate-checkpoint.json")
    bn.Prompt("A copy").save(folder / ".hidden.json")
    assert list(library) == ["mail/welcome", "postcard", "translate"]


def test_far_too_many_files_are_no_directory_of_prompts(library: bn.PromptLibrary, folder: Path) -> None:
    for number in range(MOST):
        (folder / f"{number}.json").touch()
    with pytest.raises(bn.InvalidInput, match="too many"):
        len(library)
    assert library.translate


# ── versions ──


def test_the_version_is_the_content_s_alone(folder: Path) -> None:
    made = bn.Prompt(
        "Hi {name}",
        system="S",
        temperature=1,
        examples=[("a", "b")],
        schema={"type": "object"},
        options={"seed": 7},
    )
    same = made.replace(name="N", notes="for people", temperature=1.0)
    assert made.version == same.version
    assert len(made.version) == 8
    text = json.dumps(dict(reversed(json.loads(same.to_json()).items())), indent=7)
    (folder / "odd.json").write_text(text, "utf-8")
    assert bn.prompts(folder).odd.version == made.version
    assert bn.prompts(folder).odd == same
    for change in (
        {"user": "Ho {name}"}, {"system": None}, {"temperature": 0.5}, {"model": "m"}, {"max_tokens": 3},
        {"examples": []}, {"schema": None}, {"options": {}},
    ):  # fmt: skip
        assert made.replace(**change).version != made.version
    assert bn.Prompt("Hi", temperature=0).version != bn.Prompt("Hi").version


def test_a_label_is_the_name_in_the_directory_or_one_s_own(library: bn.PromptLibrary) -> None:
    translate = library.translate
    assert translate.name == "Word → French"
    assert translate.label == f"translate@{translate.version}"
    assert library.mail.welcome.label == library["mail/welcome"].label
    assert library["mail/welcome"].label.startswith("mail/welcome@")
    changed = translate.replace(temperature=0)
    assert changed.label == f"translate@{changed.version}"
    assert bn.Prompt("Hi", name="Two\nlines").label.startswith("Two lines@")
    assert bn.Prompt("Hi").label == bn.Prompt("Hi").version
    assert bn.Prompt.from_json(translate.to_json()) == translate
    assert pickle.loads(pickle.dumps(translate)).label == translate.label


# ── asked ──


def test_a_prompt_can_be_called(library: bn.PromptLibrary, talk: bn.Client) -> None:
    reply = library.translate(word="cheese", client=talk)
    assert reply.complete
    assert library.translate({"word": "cheese"}, client=talk).text == reply.text
    assert library.translate({"word": "bread"}, client=talk, word="cheese").text == reply.text
    version = library.translate.version
    rows = [entry.prompt for entry in bn.journal()]
    assert rows == [f"translate@{version}"] * 3
    assert bn.journal().search("translate@").total == 3
    assert bn.journal().search(version[:6]).total == 3
    assert bn.journal().rows[0]["prompt"] == f"translate@{version}"
    assert f"translate@{version}" in str(bn.journal())
    request = library.postcard.request({"place": "Oslo"})
    assert request.label == library.postcard.label
    assert b"postcard@" not in request.json


async def test_a_prompt_can_be_awaited(library: bn.PromptLibrary, atalk: bn.AsyncClient) -> None:
    reply = await library.translate.acall(word="cheese", client=atalk)
    assert reply.complete
    assert bn.journal()[0].prompt == library.translate.label


def test_it_asks_the_default_client(library: bn.PromptLibrary) -> None:
    with bn.sandbox.start(engine="scripted") as box:
        bn.connect(box.api_key, base_url=box.base_url)
        assert library.translate(word="cheese").sandbox


def test_what_a_call_lacks_or_has_too_much_of_is_said_before_it_is_sent(
    library: bn.PromptLibrary, talk: bn.Client
) -> None:
    for call in (
        lambda: library.translate(client=talk),
        lambda: library.translate({}, client=talk),
        lambda: library.translate(wrd="cheese", client=talk),
        lambda: library.translate(word=None, client=talk),
        lambda: library.translate("cheese", client=talk),  # type: ignore[arg-type]
        lambda: bn.Prompt("", examples=[("a", "b")])(client=talk),
    ):
        with pytest.raises(bn.InvalidInput):
            call()
    with pytest.raises(bn.InvalidInput, match=r"Did you mean word=…\?"):
        library.translate(wrd="cheese", client=talk)
    assert bn.journal().total == 0
    assert bn.Prompt("Hi")(client=talk).complete


def test_a_label_is_never_sent() -> None:
    call = Call("chat", "POST", "/chat/completions", b"{}", label="translate@12345678")
    assert call.body == b"{}"


def test_a_called_prompt_counts_in_a_budget(library: bn.PromptLibrary, talk: bn.Client) -> None:
    with bn.budget(credits=5) as budget:
        library.translate(word="cheese", client=talk)
        answers: list[Any] = [library.translate(row, client=talk) for row in ({"word": "a"}, {"word": "b"})]
    assert budget.calls == 1 + len(answers)
