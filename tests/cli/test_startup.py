"""Help and listings load neither torch nor anything else that takes long."""

import subprocess
import sys

import pytest

HEAVY = ("torch", "numpy", "transformers", "pydantic", "pyarrow")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["run", "--help"],
        ["cache", "--help"],
        ["compare", "--help"],
        ["plugins", "list"],
        ["plugins", "list", "--json"],
        ["plugins", "show", "mdn"],
    ],
    ids=" ".join,
)
def test_loads_nothing_heavy(arguments):
    code = (
        "import sys; from latentbench.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        f"print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
    )
    assert done.stdout
    assert done.stderr.splitlines()[-1] == "[]"


@pytest.mark.parametrize("verb", ["rollout", "explain", "show", "verify"])
def test_a_wrong_name_is_told_without_importing_torch(verb):
    code = (
        "import sys; from latentbench.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit as end: assert end.code == 2, end.code\n"
        "print('torch' in sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, verb, "nowhere"], capture_output=True, text=True, check=True
    )
    assert "'nowhere' holds no finished run" in done.stderr
    assert done.stderr.splitlines()[-1] == "False"


def test_help_alone_loads_no_verb():
    code = (
        "import sys; from latentbench.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "print([n for n in sys.modules if n.startswith('latentbench.cli.')], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "latentbench.cli.run" not in done.stderr


def test_python_m_is_the_same_command():
    done = subprocess.run(
        [sys.executable, "-m", "latentbench", "--version"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("latentbench, version ")
