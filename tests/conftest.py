"""How the suite is kept quick: which files come first, and what the garbage collector need not look at.

The long files come first, so that no worker is left alone with one of them at the end; those that wait for a browser
alternate with those that compute. It matters where workers share the files: ``pytest -n 3 --dist loadfile
--no-loadscope-reorder``, as ``tests/run.sh`` has it. (By itself xdist begins with the files that hold most tests; the
long ones hold few.)
"""

from __future__ import annotations

import gc
from itertools import chain, zip_longest

import pytest

BROWSER = (
    "chat_box",
    "live",
    "music",
    "front_ends",
    "two_browsers",
    "hostile_page",
    "panels_hostile",
    "axe_panels",
    "compare",
    "prompt_builder",
    "axe_views",
    "music_studio",
    "quickstart",
    "batch",
    "task_board",
)
OTHERS = (
    "tests/test_binder.py",
    "notebooks/06_map_a_dataframe.ipynb",
    "tests/test_look_faults.py",
    "tests/test_task_faults.py",
    "tests/sandbox/test_smollm2.py",
    "tests/sandbox/music/test_clips.py",
    "tests/batch/test_cluster.py",
    "tests/test_replay.py",
    "tests/test_interpreters.py",
    "tests/sandbox/test_state.py",
    "tests/test_task_interrupts.py",
    "tests/test_lost_kernels.py",
    "tests/test_task_secrets.py",
    "tests/sandbox/test_many_tasks.py",
    "notebooks/03_music.ipynb",
    "notebooks/02_chat.ipynb",
    "notebooks/05_chat_and_compare.ipynb",
    "notebooks/04_prompt_builder.ipynb",
    "tests/test_cli.py",
    "tests/test_secrets.py",
    "tests/test_faults.py",
    "tests/interact/test_leftovers.py",
)
PAIRS = zip_longest((f"tests/browser/test_{name}.py" for name in BROWSER), OTHERS)
PLACES = {name: place for place, name in enumerate(filter(None, chain.from_iterable(PAIRS)))}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the long files first; all others stay in their order behind them."""
    items.sort(key=lambda item: PLACES.get(item.nodeid.partition("::")[0], len(PLACES)))


@pytest.fixture(scope="module", autouse=True)
def light() -> None:
    """What is there before a file's tests stays, and is kept out of the garbage collector's rounds."""
    gc.collect()
    gc.freeze()
