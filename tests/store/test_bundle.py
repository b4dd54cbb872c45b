"""A support bundle holds what support needs and nothing private."""

from __future__ import annotations

import getpass
import json
import platform
import socket
from pathlib import Path

import pytest

from beatra_nb.core.errors import InvalidInput
from beatra_nb.store.journal import Journal

from .test_journal import entry

KEY = "sk-0123456789abcdefghijklmnopqrstuv"


@pytest.fixture
def journal() -> Journal:
    journal = Journal.open()
    journal.record(
        entry(request_id="req_1", idempotency_key="one", status="error", error_code="rate_limited")
    )
    journal.record(entry(request_id="req_2", idempotency_key="one"))
    journal.record(entry(request_id="req_3", idempotency_key="two"))
    journal.record(entry(request_id="req_4", idempotency_key=None, task_id="task_9"))
    return journal


def test_it_holds_the_call_and_its_attempts_under_the_same_key(journal: Journal):
    bundle = journal.view().support_bundle("req_2")
    assert [call["request_id"] for call in bundle.as_dict()["calls"]] == ["req_1", "req_2"]
    assert json.loads(str(bundle)) == bundle.as_dict()
    assert bundle.as_dict()["calls"][0]["credits"] == "0.3900"
    assert bundle.as_dict()["versions"]["beatra-nb"]
    assert bundle.as_dict()["system"]["python"] == platform.python_version()
    assert repr(bundle) == "SupportBundle('req_2', calls=2)"


@pytest.mark.parametrize(("name", "calls"), [("one", 2), ("task_9", 1), ("req_4", 1), ("  req_3\n", 1)])
def test_any_id_of_the_call_will_do(journal: Journal, name: str, calls: int):
    assert len(journal.support_bundle(name).entries) == calls


@pytest.mark.parametrize("name", ["", "  ", None, "req_", "req_%", "unknown"])
def test_an_unknown_id_says_where_to_look(journal: Journal, name: str):
    with pytest.raises(InvalidInput, match=r"bn\.journal\(\)"):
        journal.support_bundle(name)


def test_nothing_private_is_in_it(journal: Journal, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("BEATRA_API_KEY", KEY)
    monkeypatch.setenv("USER", "grace-hopper")
    text = str(journal.support_bundle("req_1"))
    assert json.loads(text)["settings"] == {
        "mode": "live",
        "base_url": "https://api.beatra.ai/v1",
        "key_is_set": True,
    }
    for secret in (
        KEY,
        KEY[:6],
        KEY[-6:],
        str(Path.home()),
        "grace-hopper",
        socket.gethostname(),
        str(journal.path),
    ):
        assert secret not in text
    if len(getpass.getuser()) > 5:
        assert getpass.getuser() not in text


def test_no_key_reaches_the_file(journal: Journal, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("BEATRA_API_KEY", KEY)
    journal.record(entry())
    for file in journal.path.parent.iterdir():
        assert KEY.encode() not in file.read_bytes()
        assert KEY[3:12].encode() not in file.read_bytes()


def test_settings_that_do_not_work_do_not_stop_it(journal: Journal, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("BEATRA_MODE", "sideways")
    assert journal.support_bundle("req_1").as_dict()["settings"] == {"mode": "not usable as set"}


def test_it_is_saved_once_unless_told_otherwise(journal: Journal, tmp_path: Path):
    bundle = journal.support_bundle("req_1")
    path = bundle.save(tmp_path / "for-support.json")
    assert json.loads(path.read_text(encoding="utf-8")) == bundle.as_dict()
    with pytest.raises(InvalidInput, match="overwrite=True"):
        bundle.save(path)
    assert bundle.save(str(path), overwrite=True) == path
    with pytest.raises(InvalidInput, match="cannot be written"):
        bundle.save(tmp_path / "no" / "such" / "folder.json")


def test_what_a_prompt_is_called_stays_with_its_author(journal: Journal):
    journal.record(entry(request_id="req_5", prompt="the Miller affair@3f2a91c0"))
    bundle = journal.support_bundle("req_5")
    assert "prompt" not in bundle.as_dict()["calls"][0]
    assert "Miller" not in str(bundle)
