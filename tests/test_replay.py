"""Notebooks recorded on the sandbox and replayed with the network cut off: the same to the byte."""

from __future__ import annotations

import json
import re
from pathlib import Path

import nbformat
import pytest

from tests import replaying

# One that chooses itself who answers is not steered from outside.
CHOOSING = re.compile(r"mode=|bn\.(record|replay|sandbox)\b")
NOTEBOOKS = [
    path
    for path in sorted((replaying.ROOT / "notebooks").glob("*.ipynb"))
    if not any(
        cell.cell_type == "code" and CHOOSING.search(cell.source)
        for cell in nbformat.read(path, as_version=4).cells
    )
]

CELLS = [
    "import beatra_nb as bn",
    'bn.chat("Say hi in five words.", seed=2)',
    'bn.chat("Explain in two sentences why the sky is blue.", stream=True, max_tokens=90, seed=2)',
    "reply = bn.last()\nprint(reply.elapsed, reply.request_id, reply.usage)\nreply.recorded",
    """from pydantic import BaseModel

class City(BaseModel):
    name: str
    country: str

bn.chat("Extract the city: Lisbon, Portugal.", schema=City, temperature=0, seed=1)""",
    'bn.chat("Hello", model="gpt-of-tomorrow")',
    """import asyncio

[str(reply) for reply in await asyncio.gather(*[bn.achat(f"Hello, {name}.", seed=1) for name in ("Ada", "Tom")])]""",
    'song = bn.music("dream pop", title="Lights", model_options={"sandbox": {"seconds": 4}})\nsong',
    "song.clips[0].waveform[:8], song.clips[0].duration, song.elapsed",
    'bn.upload(song.clips[0].audio(), purpose="reference_audio")',
    'job = bn.music("a symphony of four minutes", wait=False)\njob.cancel("changed my mind")',
    "bn.tasks()",
    "bn.pending()",
    "bn.health()",
    "bn.capabilities()",
]


def notebook_of(cells: list[str]) -> nbformat.NotebookNode:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    for cell in notebook.cells:
        if "gpt-of-tomorrow" in cell.source:
            cell.metadata.tags = ["raises-exception"]
    return notebook


def test_a_replay_is_the_recording_to_the_byte(tmp_path: Path) -> None:
    cassette, path = tmp_path / "lesson.cassette", tmp_path / "lesson.ipynb"
    recorded = replaying.run(
        notebook_of(CELLS), tmp_path, replaying.environment(tmp_path, "record", cassette)
    )
    nbformat.write(recorded, path)
    env = replaying.environment(tmp_path, "replay", cassette)

    result = replaying.strict(path, env)
    assert result.returncode == 0, result.stdout[-6000:]

    # nbval leaves pictures and the ids of outputs alone: compared here is everything.
    again = replaying.run(notebook_of(CELLS), tmp_path, env)
    for before, after in zip(recorded.cells, again.cells, strict=True):
        assert before.outputs == after.outputs, before.source
    text = json.dumps(recorded)
    assert "sandbox" in text
    assert "recorded 20" in text

    # One word of a prompt is changed by hand.
    edited = notebook_of(CELLS[:2])
    edited.cells[1].source = edited.cells[1].source.replace("five", "six")
    edited.cells[1].metadata.tags = ["raises-exception"]
    said = json.dumps(replaying.run(edited, tmp_path, env).cells[1].outputs)
    assert "NotRecorded" in said
    assert "messages[0].content" in said
    assert "[-five-] {+six+}" in said
    assert "BEATRA_MODE=record" in said


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_notebook_can_be_replayed(path: Path, tmp_path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    cassette, copy = tmp_path / f"{path.stem}.cassette", tmp_path / path.name
    nbformat.write(
        replaying.run(notebook, path.parent, replaying.environment(tmp_path, "record", cassette)), copy
    )
    result = replaying.strict(copy, replaying.environment(tmp_path, "replay", cassette))
    assert result.returncode == 0, result.stdout[-6000:]
