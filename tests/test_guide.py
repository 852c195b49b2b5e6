"""The guide to an encoder of one's own, run block by block in a new virtual environment."""

import math
import os
import re
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from latentbench.results import read_result

GUIDE = Path(__file__).parents[1] / "docs" / "your-own-encoder.md"
BLOCK = re.compile(r"^```(sh|python title=(\S+))\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture
def environment(tmp_path):
    """A new environment that sees latentbench and torch of this one; its variables.

    What `pip install latentbench` would put there are a path and a command.
    """
    home = tmp_path / ".venv"
    venv.create(home, symlinks=True)
    scripts = home / ("Scripts" if os.name == "nt" else "bin")
    python = scripts / "python"
    scheme = "venv" if "venv" in sysconfig.get_scheme_names() else "posix_prefix"  # Python 3.10
    paths = sysconfig.get_paths(vars={"base": str(home), "platbase": str(home)}, scheme=scheme)
    outer = sysconfig.get_paths()["purelib"]
    link = f"import site; site.addsitedir({outer!r})\n"
    (Path(paths["purelib"]) / "outer.pth").write_text(link, "utf-8")
    command = scripts / "latentbench"
    command.write_text(f"#!{python}\nfrom latentbench.cli import main\nmain()\n", "utf-8")
    command.chmod(0o755)
    return {
        "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "LATENTBENCH_CACHE": str(tmp_path / "cache"),
        "OMP_NUM_THREADS": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_NO_INDEX": "1",  # everything is here already
        "PIP_NO_DEPS": "1",
        "PIP_NO_BUILD_ISOLATION": "0",  # pip's own spelling of --no-build-isolation
    }


@pytest.mark.skipif(sys.platform == "win32", reason="the guide's blocks are for a POSIX shell")
def test_the_guide_works_as_it_stands(tmp_path, environment):
    pytest.importorskip("espeakng_loader", reason="the guide's last step makes speech")
    said = []
    blocks = BLOCK.findall(GUIDE.read_text("utf-8"))
    assert [kind.split()[0] for kind, _, _ in blocks] == [
        "sh",
        "sh",
        "python",
        "python",
        "sh",
        "sh",
    ]
    for kind, file, text in blocks:
        if kind != "sh":
            assert (tmp_path / file).is_file()
            (tmp_path / file).write_text(text, "utf-8")
            continue
        done = subprocess.run(
            ["/bin/sh", "-e", "-c", text],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
        said.append(done.stdout)
    made, first, again, measured = said
    assert "latentbench_mine/encoder.py" in made
    assert "latentbench-mine" in first
    assert "14 passed, 0 in doubt, 4 skipped, 0 failed" in first
    assert re.search(r"= 14 passed, 4 skipped in ", first)
    assert "told apart: seed" in again
    assert '"passed": true' in again
    assert "mine on speech-demo" in measured
    assert "[random weights]" in measured
    first, second = read_result(tmp_path / "runs" / "mine").horizons
    assert first.figure("eval", "all", "dnll").high < first.iid_floor == -8 * math.log(2)
    assert first.figure("eval", "all", "x_gain").high < 0
    assert first.figure("eval", "all", "dnll").high < second.figure("eval", "all", "dnll").low
    assert second.figure("eval", "all", "dnll_context").low > 0
