"""The page on Python works as it stands: its blocks are run one after the other."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import latentbench as lb

PAGE = (Path(__file__).parents[1] / "docs" / "python.md").read_text("utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_the_blocks_of_the_page_run_in_their_order(tmp_path):
    pytest.importorskip("espeakng_loader", reason="the first block makes speech")
    page = tmp_path / "page.py"
    page.write_text("\n".join(BLOCKS), "utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning", page],
        cwd=tmp_path,
        env=os.environ | {"LATENTBENCH_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "logmel on speech-demo, mdn-robust against marginal" in done.stdout
    assert "2 runs side by side" in done.stdout
    assert "networks of" in done.stdout
    assert (tmp_path / "runs" / "tiny" / "result.json").exists()
    assert len(list((tmp_path / "runs").glob("latents-TowardsMean-arrays-*"))) == 1


def test_every_name_is_on_the_page():
    names = [name for name in lb.__all__ if not name.startswith("_")]
    table = PAGE[PAGE.index("## Names") :]
    assert [name for name in names if f"`{name}`" not in table] == []


def test_every_setting_is_on_the_page():
    from latentbench.api import Settings

    assert [name for name in Settings.__annotations__ if f"`{name}`" not in PAGE] == []
