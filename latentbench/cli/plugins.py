"""`latentbench plugins`: what can be named, whose it is, and whether it runs here."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from latentbench.cli.check import check
from latentbench.cli.groups import NamingGroup
from latentbench.cli.output import console, echo, echo_json
from latentbench.cli.session import GivenPath
from latentbench.reports.tables import ANY_WIDTH, Line, Table, column, show
from latentbench.scaffold import TEMPLATE_KINDS, create
from latentbench.specs import KINDS, CorpusSpec, EncoderSpec, PredictorSpec, option_fields

if TYPE_CHECKING:
    from collections.abc import Iterator

    from latentbench.cli.session import Session
    from latentbench.plugins import Component, Registry

__all__ = ["plugins"]

# Where the options of a component of this kind go in the configuration.
SECTIONS = ("corpus", "encoder", "predictor", "engine")


HEARD = "decodes: its latents lead back to sound, see `latentbench listen`"


@click.group(cls=NamingGroup)
def plugins() -> None:
    """List, describe, check and begin what can be named."""


plugins.add_command(check)


@plugins.command("list")
@click.option("--kind", type=click.Choice(list(KINDS)), help="Only components of this kind.")
@click.pass_obj
def list_plugins(session: Session, *, kind: str | None, as_json: bool) -> None:
    """List every component, and below them what was refused or is in conflict."""
    registry = session.registry
    facts = [
        _facts(component)
        for one in ([kind] if kind else KINDS)
        for component in registry.of_kind(one)
    ]
    if as_json:
        echo_json({"plugins": facts, **_troubles(registry)})
        return
    show([_components_table(facts)], console())
    refused = [f"Refused: {refusal}" for refusal in registry.refusals]
    for text in (*refused, *map(str, registry.conflict_errors())):
        show([Line(), Line(text, "yellow")], console())


@plugins.command("show")
@click.argument("name")
@click.pass_obj
def show_plugin(session: Session, name: str, *, as_json: bool) -> None:
    """Describe the components called NAME and their options."""
    facts = [_described(component) for component in session.registry.find(name)]
    if as_json:
        echo_json(facts, default=str)
        return
    for number, component in enumerate(facts):
        lines = (
            *([""] if number else []),
            f"{component['kind']} {component['name']}: {component['summary']}",
            f"{_origin(component)} (module {component['module']})",
            *((HEARD,) if component["decodes"] else ()),
            *(() if component["options"] else ("no options",)),
        )
        show(map(Line, lines), console())
        if component["options"]:
            show(_options(component), console())


@plugins.command("new")
@click.argument("kind", type=click.Choice(TEMPLATE_KINDS))
@click.argument("name")
@click.option(
    "--out",
    type=GivenPath(file_okay=False),
    metavar="FOLDER",
    default=Path(),
    help="Where the new folder NAME is made [default: here].",
)
@click.pass_obj
def new_plugin(session: Session, kind: str, name: str, out: Path, *, as_json: bool) -> None:
    """Write a complete distribution with a working component NAME of that KIND.

    It installs and passes its tests at once; then make it yours.
    """
    made = create(kind, name, out, session.registry)
    if as_json:
        files = [str(file) for file in made.files]
        echo_json({"folder": str(made.folder), "files": files})
        return
    echo(f"Made {made.folder}:")
    for file in made.files:
        echo(f"  {file}")
    echo("Next:")
    echo(f"  python -m pip install -e {made.folder}")
    echo(f"  latentbench plugins check {name}")
    echo(f"  python -m pytest {made.folder}")


def _facts(component: Component) -> dict[str, Any]:
    spec, missing = component.spec, component.missing()
    return {
        "name": spec.name,
        "kind": spec.kind,
        "distribution": component.provider.distribution,
        "version": component.provider.version,
        "summary": spec.summary,
        "licence": _licence(component),
        "decodes": spec.decodes if isinstance(spec, EncoderSpec) else None,
        "density": str(spec.density) if isinstance(spec, PredictorSpec) else "",
        "runs_here": not missing,
        "missing": missing,
    }


def _described(component: Component) -> dict[str, Any]:
    options = [asdict(option) for option in option_fields(component.spec.options)]
    return {**_facts(component), "module": component.provider.module, "options": options}


def _licence(component: Component) -> str:
    """Of an encoder's weights or a corpus's audio."""
    spec = component.spec
    if isinstance(spec, EncoderSpec):
        return spec.weights_licence
    return spec.licence if isinstance(spec, CorpusSpec) else ""


def _troubles(registry: Registry) -> dict[str, Any]:
    return {
        "refused": [
            {
                "distribution": refusal.provider.distribution,
                "version": refusal.provider.version,
                "module": refusal.provider.module,
                "reason": refusal.reason,
            }
            for refusal in registry.refusals
        ],
        "conflicts": [
            {
                "kind": group[0].spec.kind,
                "name": group[0].spec.name,
                "distributions": [component.provider.distribution for component in group],
            }
            for group in registry.conflicts()
        ],
    }


def _origin(facts: dict[str, Any]) -> str:
    """Distribution, density, licence and what is missing, in the words of the tables."""
    origin = [f"{facts['distribution']} {facts['version']}".strip()]
    if facts["density"]:
        origin.append(f"density: {facts['density']}")
    if facts["licence"]:
        what = "weights" if facts["kind"] == "encoder" else "audio"
        origin.append(f"{what}: {facts['licence']}")
    if facts["missing"]:
        origin.append(f"needs {', '.join(facts['missing'])}")
    return "; ".join(origin)


def _components_table(components: list[dict[str, Any]]) -> Table:
    """Two rows for each: what it is, then whose."""
    rows = []
    for facts in components:
        runs = "yes" if facts["runs_here"] else "no"
        rows += [(facts["kind"], facts["name"], runs, facts["summary"])]
        rows += [("", "", "", _origin(facts))]
    return Table(
        (
            column("kind", rows, lambda row: row[0], left=True),
            column("name", rows, lambda row: row[1], left=True),
            column("runs here", rows, lambda row: row[2], left=True),
            column("what it is, whose it is", rows, lambda row: row[3], left=True, fold=ANY_WIDTH),
        ),
        styles=("", "dim") * len(components),
    )


def _options(component: dict[str, Any]) -> Iterator[Table | Line]:
    options = component["options"]

    def default(option: dict[str, Any]) -> str:
        return (
            "(must be given)" if option["required"] else json.dumps(option["default"], default=str)
        )

    yield Line()
    yield Table(
        (
            column("option", options, lambda one: one["name"], left=True),
            column("type", options, lambda one: one["type"], left=True, fold=ANY_WIDTH),
            column("default", options, default, left=True, fold=ANY_WIDTH),
            column("what it does", options, lambda one: one["help"], left=True, fold=ANY_WIDTH),
        )
    )
    if component["kind"] in SECTIONS:
        yield Line(f"Set one with --set {component['kind']}.OPTION=VALUE", "dim")
