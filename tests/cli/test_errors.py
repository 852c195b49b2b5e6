"""Every mistake is told in the user's words, on stderr, with its exit code."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from latentbench.cli import VERBS, main
from latentbench.cli.groups import LazyGroup
from latentbench.cli.session import Session
from latentbench.errors import CellFailedError, LatentbenchError, UsageError


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rnu"], "There is no command 'rnu'. Did you mean 'run'?"),
        (["plugins", "lits"], "There is no command 'lits'. Did you mean 'list'?"),
        (["cache", "delete"], "There is no command 'delete'."),
        (["run", "--enkoder", "mimi"], "Did you mean one of: '--encoder'"),
        (
            ["run", "--encoder", "mimmi"],
            "There is no encoder called 'mimmi'.\nDid you mean 'mimi'?",
        ),
        (
            ["run", "--preset", "fase1"],
            "There is no preset called 'fase1'.\nDid you mean 'phase1'?",
        ),
        (["run", "--set", "encoder.veiw=x"], "'veiw' is no option of the encoder 'mimi'."),
        (["run", "--set", "trainin.steps=3"], "'trainin' is no option of a run."),
        (["run", "--set", "steps"], "--set 'steps' is no assignment."),
        (["run", "--steps", "0"], "'training.steps' cannot be 0"),
        (["run", "--horizons", "1;2"], "'1;2' is no list of whole numbers such as 1,2,4,8."),
        (["run", "--seed", "1", "--seeds", "1,2"], "Give --seed or --seeds, not both."),
        (["run", "--horizons", "1,1"], "names one of them twice"),
        (["run", "--config", "absent.yaml"], "'absent.yaml' cannot be read"),
        (["plugins", "show", "mnd"], "There is no plugin called 'mnd'.\nDid you mean 'mdn'?"),
        (["show", "nowhere"], "'nowhere' holds no finished run"),
        (["show", "x", "--json", "--reporter", "csv"], "--json and --reporter csv exclude"),
        (["--plugin", "absent.py", "plugins", "list"], "'absent.py' cannot be used"),
    ],
)
def test_bad_usage_exits_with_2_and_says_what_to_do(invoke, arguments, message):
    found = invoke(*arguments)
    assert message in found.stderr
    assert (found.exit_code, found.stdout) == (2, "")
    assert "Traceback" not in found.stderr


@pytest.fixture
def beside_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("file").touch()


@pytest.mark.usefixtures("beside_a_file")
@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (["report", "nowhere"], "--out"),
        (["report", "nowhere", "--explain"], "--out"),
        (["plot", "nowhere"], "--out"),
        (["card", "nothing"], "--out"),
        (["show", "nowhere"], "--export"),
        (["compare", "nowhere", "nowhere"], "--export"),
        (["compare", "--encoder", "nothing"], "--export"),
    ],
)
@pytest.mark.parametrize(
    ("out", "reason"),
    [("no/x{}", "there is no folder 'no'"), ("file/x{}", "'file' is a file")],
)
def test_a_file_that_cannot_be_written_is_said_before_anything_else(
    invoke, arguments, option, out, reason
):
    suffix = {"report": ".html", "plot": ".svg", "card": ".json"}.get(arguments[0], ".csv")
    found = invoke(*arguments, option, out.format(suffix))
    assert f"{option} {out.format(suffix)} cannot be written: {reason}" in found.stderr
    assert found.exit_code == 2


@pytest.mark.usefixtures("beside_a_file")
@pytest.mark.parametrize(
    ("arguments", "option"),
    [(["publish", "nowhere"], "--to"), (["leaderboard", "build", "nowhere"], "--out")],
)
def test_a_folder_that_cannot_be_made_is_said_before_anything_else(invoke, arguments, option):
    found = invoke(*arguments, option, "file/of/site")
    assert f"{option} file/of/site cannot be written: 'file' is a file" in found.stderr
    assert found.exit_code == 2


def failing(error):
    """The real top group around a verb that raises."""

    @click.pass_context
    def callback(ctx, *, debug):
        ctx.obj = Session(debug=debug)

    group = LazyGroup(
        verbs={},
        callback=callback,
        params=[click.Option(["--debug"], is_flag=True)],
    )

    @click.command()
    def fail():
        raise error

    group.verbs = {"fail": (f"{__name__}:unused", "")}
    group.get_command = lambda _ctx, _name: fail
    return group


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (UsageError("bad", "do that"), 2, "Error: bad\ndo that\n"),
        (LatentbenchError("worse"), 1, "Error: worse\n"),
        (CellFailedError("1 of 4 failed"), 1, "Error: 1 of 4 failed\n"),
        (KeyboardInterrupt(), 130, "\nInterrupted. The same command continues from here.\n"),
    ],
)
def test_exit_codes(error, code, text):
    found = CliRunner().invoke(failing(error), ["fail"])
    assert (found.exit_code, found.stderr) == (code, text)


def test_a_bug_is_told_without_a_traceback_unless_asked():
    group = failing(ZeroDivisionError("division by zero"))
    quiet = CliRunner().invoke(group, ["fail"])
    assert quiet.exit_code == 1
    assert "Error: ZeroDivisionError: division by zero" in quiet.stderr
    assert "--debug" in quiet.stderr
    assert "Traceback" not in quiet.stderr
    assert "Traceback" in CliRunner().invoke(group, ["--debug", "fail"]).stderr


@pytest.mark.parametrize("where", [["--debug", "show", "x"], ["show", "x", "--debug"]])
def test_debug_may_stand_before_and_after_the_verb(invoke, where):
    found = invoke(*where)
    assert found.exit_code == 2
    assert "Traceback" in found.stderr


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)],
)
def test_interrupting_a_real_process_says_that_it_continues(tmp_path, number, code):
    plugin = tmp_path / "slow.py"
    plugin.write_text(
        textwrap.dedent(
            """
            import sys, time
            from latentbench.hookspecs import hookimpl
            from latentbench.specs import EngineSpec

            @hookimpl
            def latentbench_engines():
                print("ready", file=sys.stderr, flush=True)
                time.sleep(60)
                yield EngineSpec(name="slow", summary="slow", factory="a:b")
            """
        )
    )
    with subprocess.Popen(
        [sys.executable, "-m", "latentbench", "--plugin", str(plugin), "plugins", "list"],
        stderr=subprocess.PIPE,
        text=True,
    ) as command:
        try:
            assert command.stderr.readline() == "ready\n"
            os.kill(command.pid, number)
            _, text = command.communicate(timeout=30)
        finally:
            command.kill()
    assert command.returncode == code
    assert text == "\nInterrupted. The same command continues from here.\n"


def test_the_help_of_every_verb_says_what_the_list_of_verbs_says():
    with click.Context(main) as ctx:
        for name, (_, line) in VERBS.items():
            assert main.get_command(ctx, name).get_short_help_str(limit=100) == line
