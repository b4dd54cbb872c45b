"""Run the example notebooks in place, in a home of their own: ``python -m tests.refresh_notebooks [name …]``.

What differs from run to run without telling anything (timings of cells) is left out, so that git shows what changed.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from beatra_nb.core.settings import weights_home

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"


def refresh(path: Path) -> None:
    """Run one notebook, and write it back with its outputs."""
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=300, kernel_name="python3", record_timing=False).execute(
        cwd=str(path.parent)
    )
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for cell in notebook.cells:
        cell.metadata = {name: value for name, value in cell.metadata.items() if name == "tags"}
    nbformat.write(notebook, path)
    print(f"{path.name}: {path.stat().st_size / 1024:.0f} kB")


def main() -> None:
    """Refresh the notebooks named on the command line, or all."""
    weights = weights_home()
    for name in [name for name in os.environ if name.startswith("BEATRA_")]:
        del os.environ[name]
    with tempfile.TemporaryDirectory() as home:
        os.environ.update(BEATRA_HOME=home, BEATRA_WEIGHTS=str(weights))
        for path in sorted(NOTEBOOKS.glob("*.ipynb")):
            if not sys.argv[1:] or path.name in sys.argv[1:] or path.stem in sys.argv[1:]:
                refresh(path)


if __name__ == "__main__":
    main()
