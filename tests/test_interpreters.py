"""The package on other Pythons, installed as users install it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CODE = """
import beatra_nb as bn
try:
    bn.chat("Say hi in five words.")
except bn.SandboxUnavailable as error:
    assert "beatra-nb[sandbox]" in str(error), error
else:
    raise SystemExit("no extras are installed, so nothing could answer")
bn.Client("sk-" + "0" * 32).close()
reply = bn.Reply("**hi**", model="m")
assert "<strong>hi</strong>" in reply._repr_html_(), reply._repr_html_()
print("fine")
"""


def newest() -> tuple[str, Path]:
    """The newest other Python on this machine, where the version managers put them and on the PATH."""
    here = sys.version_info[:2]
    found: dict[tuple[int, int], Path] = {}
    for folder in [Path(sys.base_prefix).parent, *map(Path, os.environ["PATH"].split(os.pathsep))]:
        for python in [*folder.glob("*/bin/python3.1?"), *folder.glob("python3.1?")]:
            version = (3, int(python.name.removeprefix("python3.")))
            works = version > here and version not in found
            if (
                works
                and subprocess.run([python, "-c", "import venv"], capture_output=True, check=False).returncode
                == 0
            ):
                found[version] = python
    if not found:
        pytest.skip(f"no Python newer than {here[0]}.{here[1]} on this machine")
    version = max(found)
    return f"{version[0]}.{version[1]}", found[version]


@pytest.mark.timeout(600)
def test_a_light_install_works_on_this_python(tmp_path: Path) -> None:
    light_install(Path(sys.executable), tmp_path)


@pytest.mark.timeout(600)
def test_a_light_install_works_on_the_newest_python(tmp_path: Path) -> None:
    version, python = newest()
    print(f"Python {version} at {python}")
    light_install(python, tmp_path)


def light_install(python: Path, tmp_path: Path) -> None:
    """Install the core without any extra, then import with warnings as errors and use it."""
    source = tmp_path / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("beatra_nb", "notebooks"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run([python, "-m", "venv", "--without-pip", tmp_path / "env"], check=True)
    fresh = tmp_path / "env/bin/python"
    uv = Path(sys.executable).with_name("uv")
    subprocess.run([uv, "pip", "install", "-q", "--python", fresh, source], check=True)
    subprocess.run([fresh, "-W", "error", "-c", "import beatra_nb"], check=True, cwd=tmp_path)
    done = subprocess.run(
        [fresh, "-W", "error", "-c", CODE], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.stdout == "fine\n", done.stderr
