"""The notebook of the documentation runs, from audio to figure."""

import json
import os
import subprocess
import sys
from pathlib import Path

NOTEBOOK = Path(__file__).parents[1] / "docs" / "notebooks" / "from-audio-to-figure.ipynb"
RUN = """
import sys, nbformat
from nbclient import NotebookClient
read = nbformat.read(sys.argv[1], 4)
NotebookClient(read, timeout=120, kernel_name="python3").execute()
nbformat.write(read, "ran.ipynb")
"""


def outputs(file):
    """Of each code cell: the kinds of what it shows, and the text that was printed."""
    cells = json.loads(file.read_text("utf-8"))["cells"]
    shown = [one["outputs"] for one in cells if one["cell_type"] == "code"]
    kinds = [sorted(kind for one in of for kind in one.get("data", {})) for of in shown]
    printed = [one for of in shown for one in of if one.get("name") == "stdout"]
    return kinds, "".join("".join(one["text"]) for one in printed)


def test_the_notebook_runs_and_shows_what_it_is_stored_with(tmp_path):
    here = {"LATENTBENCH_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", RUN, NOTEBOOK],
        cwd=tmp_path,
        env=os.environ | here,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    kinds, printed = outputs(tmp_path / "ran.ipynb")
    stored_kinds, stored = outputs(NOTEBOOK)
    assert kinds == stored_kinds
    assert ["image/png", "text/plain"] in kinds
    assert stored.splitlines()[0] == printed.splitlines()[0]
    assert "The context is worth" in printed
    assert (tmp_path / "report.html").exists()
