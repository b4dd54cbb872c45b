"""Accounts told apart: the same name for the same key in every process, and nothing of the key on the disk."""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from beatra_nb.core.settings import Secret
from beatra_nb.store import accounts

KEY = "sk-" + "aCc0untT3stK3yZ9" * 2
OTHER = "sk-" + "oTh3rT3stK3yQ7xB" * 2
WORK = """
import sys
from beatra_nb.core.settings import Secret
from beatra_nb.store.accounts import tag
sys.stdin.readline()
print(tag(Secret(sys.argv[1])))
"""


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test is a process that has read no salt yet."""
    monkeypatch.setattr(accounts, "_salts", {})


def told(key: str = KEY, processes: int = 1) -> list[str]:
    """What so many new processes, let go at the same moment, say that a key's account is."""
    workers = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", WORK, key],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(processes)
    ]
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    found = []
    for worker in workers:
        out, _ = worker.communicate(timeout=30)
        assert worker.returncode == 0
        found.append(out.strip())
    return found


def test_a_tag_tells_accounts_apart() -> None:
    one, other = accounts.tag(Secret(KEY)), accounts.tag(Secret(OTHER))
    assert one != other
    assert [accounts.tag(Secret(KEY)), accounts.tag(Secret(OTHER))] == [one, other]
    assert len(one) == 16
    assert one.isalnum()


def test_a_tag_is_the_same_in_every_process() -> None:
    assert told() == [accounts.tag(Secret(KEY))]
    assert told(OTHER) == [accounts.tag(Secret(OTHER))]


def test_processes_that_come_first_together_agree() -> None:
    found = told(processes=6)
    assert set(found) == {accounts.tag(Secret(KEY))}
    assert len(found) == 6


def test_elsewhere_the_same_key_has_another_tag(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    here = accounts.tag(Secret(KEY))
    monkeypatch.setenv("BEATRA_HOME", str(tmp_path / "another"))
    assert accounts.tag(Secret(KEY)) != here, "it is of no use on another machine"


def test_nothing_of_the_key_is_on_the_disk(isolated: Path) -> None:
    name = accounts.tag(Secret(KEY))
    files = [path for path in isolated.rglob("*") if path.is_file()]
    assert [path.name for path in files] == [accounts.FILE], "no half-made file is left behind"
    (data,) = [path.read_bytes() for path in files]
    assert len(data) == accounts.SIZE
    hashes = {new(KEY.encode()).digest() for new in (hashlib.sha256, hashlib.sha1, hashlib.md5)}
    for secret in (KEY.encode(), KEY[3:].encode(), *hashes):
        assert secret not in data
        assert secret.hex() not in name
        assert not secret.hex().startswith(name), "it is not a plain hash, which could be tried out"
    assert stat.S_IMODE(files[0].stat().st_mode) == 0o600
    assert stat.S_IMODE(isolated.stat().st_mode) == 0o700


@pytest.mark.parametrize("left", [b"", b"short", b"x" * 33])
def test_a_salt_that_was_cut_short_is_made_anew_once(isolated: Path, left: bytes) -> None:
    isolated.mkdir()
    (isolated / accounts.FILE).write_bytes(left)
    assert told() == [accounts.tag(Secret(KEY))], "all who come later agree again"
    assert len((isolated / accounts.FILE).read_bytes()) == accounts.SIZE


def test_where_nothing_can_be_written_accounts_are_still_told_apart(isolated: Path) -> None:
    isolated.write_bytes(b"a file, where the folder should be")
    assert accounts.tag(Secret(KEY)) == accounts.tag(Secret(KEY)) != accounts.tag(Secret(OTHER))


def test_where_a_file_cannot_have_two_names_it_is_written_all_the_same(
    monkeypatch: pytest.MonkeyPatch, isolated: Path
) -> None:
    def no_links(*_: object, **__: object) -> None:
        raise PermissionError("this file system has no links")

    monkeypatch.setattr(os, "link", no_links)
    name = accounts.tag(Secret(KEY))
    monkeypatch.undo()
    monkeypatch.setenv("BEATRA_HOME", str(isolated))
    assert told() == [name]
