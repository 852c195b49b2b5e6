"""Help and listings load neither torch nor anything else that takes long."""

import json
import subprocess
import sys

HEAVY = ("torch", "numpy", "transformers", "pydantic", "pyarrow")
LIGHT = (
    ["--help"],
    ["run", "--help"],
    ["cache", "--help"],
    ["compare", "--help"],
    ["plugins", "list"],
    ["plugins", "list", "--json"],
    ["plugins", "show", "mdn"],
)
# Runs commands one after another, and says how each ended and what was imported by then.
COMMANDS = """
import json, sys
from latentbench.cli import main
for arguments, names in json.loads(sys.argv[1]):
    try:
        main(arguments)
    except SystemExit as end:
        print(json.dumps([end.code or 0, [one for one in names if one in sys.modules]]), "ENDED")
"""


def imported(commands, names):
    """The exit code of each command, and what of these it or one before it imported."""
    asked = json.dumps([(one, names) for one in commands])
    command = [sys.executable, "-c", COMMANDS, asked]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    told = [line.split(" ENDED")[0] for line in done.stdout.splitlines() if "ENDED" in line]
    return list(map(json.loads, told)), done


def test_help_and_listings_load_nothing_heavy():
    found, done = imported(LIGHT, HEAVY)
    assert found == [[0, []]] * len(LIGHT), done.stderr


def test_a_wrong_name_is_told_without_importing_torch():
    verbs = [[verb, "nowhere"] for verb in ("rollout", "explain", "show", "verify")]
    found, done = imported(verbs, ["torch"])
    assert found == [[2, []]] * len(verbs), done.stderr
    assert done.stderr.count("'nowhere' holds no finished run") == len(verbs)


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
