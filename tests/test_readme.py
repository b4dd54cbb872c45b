"""What the README says to type, typed."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from beatra_nb import sandbox

README = (Path(__file__).parent.parent / "README.md").read_text("utf-8")


def block(start: str) -> str:
    """Return the block of code that begins with a line."""
    found = [code for code in re.findall(r"```bash\n(.*?)```", README, re.DOTALL) if code.startswith(start)]
    assert len(found) == 1
    return found[0]


@pytest.mark.skipif(not (shutil.which("curl") and shutil.which("bash")), reason="needs bash and curl")
def test_curl_alone_makes_music(tmp_path: Path) -> None:
    import numpy as np
    import soundfile

    time = np.arange(4 * 22_050) / 22_050
    beats = np.sin(2 * np.pi * 220 * time) * np.exp(-8 * (time % 0.5))
    soundfile.write(tmp_path / "riff.wav", 0.5 * beats, 22_050)
    script = block("API=")
    assert "slow blues" in script
    with sandbox.start(engine="scripted") as box:
        script = script.replace("http://127.0.0.1:8765/v1", box.base_url).replace(
            "slow blues", "slow blues, 3 seconds"
        )
        if shutil.which("uuidgen") is None:
            script = script.replace("$(uuidgen)", "a-key-of-its-own")
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=tmp_path,
            env={"PATH": "/usr/local/bin:/usr/bin:/bin", "KEY": box.api_key},
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    samples, rate = soundfile.read(tmp_path / "song.mp3")
    assert rate == 44_100
    assert len(samples) > rate
    assert np.abs(samples).max() > 0.05
