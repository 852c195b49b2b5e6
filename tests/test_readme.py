"""The commands of README and docs are commands: each parses, and its configuration resolves."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from latentbench.api import configure
from latentbench.cli import main
from latentbench.cli.configuration import settings_of
from latentbench.cli.session import Session

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


QUESTIONS = ROOT / "docs" / "questions.md"
BLOCK = re.compile(r"^```(?:sh|bash|console|)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def commands():
    """The words of every `latentbench` command in a block, fenced or indented."""
    for words in re.findall(r"`(latentbench [^`]+)`", QUESTIONS.read_text("utf-8")):
        yield pytest.param(shlex.split(words)[1:], id=f"questions.md: {words}")
    for page in PAGES:
        text = page.read_text("utf-8")
        indented = "\n".join(line for line in text.splitlines() if line.startswith("    "))
        for block in [*BLOCK.findall(text), indented]:
            for line in block.replace("\\\n", " ").splitlines():
                for part in re.split(r"&&|\|\||;", line.split(" #")[0]):
                    words = part.strip().removeprefix("$ ")
                    if words.startswith("latentbench ") and not re.search(
                        r"\.\.\.|…|\bRUN\b", words
                    ):
                        yield pytest.param(shlex.split(words)[1:], id=f"{page.name}: {words}"[:120])


@pytest.mark.parametrize("words", list(commands()))
def test_a_documented_command_is_one(words):
    context: click.Context = click.Context(main)
    command: click.Command = main
    while isinstance(command, click.Group):
        name, found, words = command.resolve_command(context, list(words))
        assert found is not None
        context = click.Context(found, info_name=name, parent=context)
        command = found
    parsed = command.make_context("documented", list(words), resilient_parsing=False)
    if command.name in {"run", "encode"}:
        configure(**settings_of(Session(), parsed.params))


def test_every_page_linked_in_the_readme_is_there():
    text = (ROOT / "README.md").read_text("utf-8")
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert (ROOT / target).exists(), target


def test_the_readme_installs_and_tests_by_two_commands():
    text = (ROOT / "README.md").read_text("utf-8")
    first_screen = text.splitlines()[:30]
    assert "<!-- demo -->" in first_screen
    assert "<!-- test -->" in first_screen
