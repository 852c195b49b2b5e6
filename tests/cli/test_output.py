"""What commands write: harmless on a terminal, and JSON alone where JSON is asked for."""

import json
import subprocess
import sys

import click
import pytest
from rich.text import Text

from latentbench.cli import main
from latentbench.cli.output import console, echo
from latentbench.display import HarmlessConsole

EVIL = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202eevil"


def test_escapes_of_names_do_not_reach_the_terminal(capsys):
    echo(EVIL)
    echo(EVIL, err=True)
    console().print(Text(EVIL))
    HarmlessConsole(stderr=True).print(EVIL, markup=False)
    for written in capsys.readouterr():
        assert written.count("evil") == 2
        assert not set(written) & set("\x1b\x07\x9b\u202e")


def test_an_error_about_an_evil_path_is_harmless(invoke, tmp_path):
    for verb in ("show", "verify", "rollout", "explain"):
        found = invoke(verb, tmp_path / EVIL)
        assert found.exit_code == 2
        assert "evil' holds no finished run" in found.stderr
        assert not set(found.output) & set("\x1b\x07\x9b\u202e")
    assert not set(invoke(EVIL).output) & set("\x1b\x07\x9b\u202e")


def commands(group, path=()):
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


@pytest.mark.parametrize("path", dict(commands(main)), ids=" ".join)
def test_every_command_speaks_json(path):
    options = dict(commands(main))[path].params
    assert "--json" in {name for option in options for name in option.opts}


PLUGIN = """
import os, sys
print("from the module")

class Metric:
    def __init__(self, options):
        print("from the factory")
        os.system("echo from a child process")

from latentbench.hookspecs import hookimpl
from latentbench.specs import MetricSpec

@hookimpl
def latentbench_metrics():
    print("from the hook")
    yield MetricSpec(name="loud", summary="prints", factory=f"{__name__}:Metric")
"""


@pytest.mark.parametrize("verb", ["list", "check"])
def test_what_a_plugin_prints_does_not_spoil_json(tmp_path, verb):
    """In a process of its own, as children write to the process's stdout, not to Python's."""
    file = tmp_path / "loud.py"
    file.write_text(PLUGIN, "utf-8")
    arguments = ["list"] if verb == "list" else ["check", "loud"]
    command = [sys.executable, "-m", "latentbench", "--plugin", file, "plugins", *arguments]
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False)
    assert json.loads(done.stdout)
    assert "from the module" in done.stderr
    assert "from the hook" in done.stderr
    if verb == "check":
        assert "from the factory" in done.stderr
        assert "from a child process" in done.stderr


def test_what_is_printed_through_a_closed_pipe_ends_quietly():
    command = [sys.executable, "-m", "latentbench", "plugins", "list", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        told = process.stderr.read().decode()
    assert process.returncode == 1
    assert "Traceback" not in told
    assert "Exception" not in told
