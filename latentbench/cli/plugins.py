"""`latentbench plugins`: what can be named, whose it is, and whether it runs here."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from latentbench.cli.check import check
from latentbench.cli.groups import NamingGroup
from latentbench.cli.new import new
from latentbench.cli.output import console, echo, json_option
from latentbench.specs import KINDS, CorpusSpec, EncoderSpec, PredictorSpec, option_fields

if TYPE_CHECKING:
    from rich.table import Table

    from latentbench.cli.session import Session
    from latentbench.plugins import Component, Registry

__all__ = ["plugins"]

# Where the options of a component of this kind go in the configuration.
SECTIONS = {
    "corpus": ("corpus",),
    "encoder": ("encoder",),
    "predictor": ("predictor", "baseline"),
    "engine": ("engine",),
}


@click.group(cls=NamingGroup)
def plugins() -> None:
    """List, describe, check and begin what can be named."""


plugins.add_command(check)
plugins.add_command(new)


@plugins.command("list")
@json_option
@click.pass_obj
def list_plugins(session: Session, *, as_json: bool) -> None:
    """List every component, and below them what was refused or is in conflict."""
    registry = session.registry()
    if as_json:
        echo(json.dumps(_as_json(registry), indent=2))
        return

    out = console()
    out.print(_components_table(registry))
    for text in _troubles(registry):
        out.print()
        out.print(text, style="yellow", markup=False, highlight=False)


@plugins.command("show")
@click.argument("name")
@json_option
@click.pass_obj
def show_plugin(session: Session, name: str, *, as_json: bool) -> None:
    """Describe the components called NAME and their options."""
    components = session.registry().find(name)
    if as_json:
        described = [{**_facts(one), "options": _options(one)} for one in components]
        echo(json.dumps(described, indent=2, default=str))
        return
    from rich.text import Text  # noqa: PLC0415

    out = console()
    for number, component in enumerate(components):
        if number:
            out.print()
        for line in _description(component):
            out.print(Text(line))
        if option_fields(component.spec.options):
            out.print()
            out.print(_options_table(component))


def _options(component: Component) -> list[dict[str, Any]]:
    return [asdict(option) for option in option_fields(component.spec.options)]


def _facts(component: Component) -> dict[str, Any]:
    spec, missing = component.spec, component.missing()
    return {
        "name": spec.name,
        "kind": spec.kind,
        "distribution": component.provider.distribution,
        "version": component.provider.version,
        "summary": spec.summary,
        "licence": _licence(component),
        "density": str(spec.density) if isinstance(spec, PredictorSpec) else "",
        "runs_here": not missing,
        "missing": missing,
    }


def _licence(component: Component) -> str:
    """Of an encoder's weights or a corpus's audio."""
    spec = component.spec
    if isinstance(spec, EncoderSpec):
        return spec.weights_licence
    return spec.licence if isinstance(spec, CorpusSpec) else ""


def _ordered(registry: Registry) -> list[Component]:
    return [component for kind in KINDS for component in registry.of_kind(kind)]


def _as_json(registry: Registry) -> dict[str, Any]:
    return {
        "plugins": [_facts(component) for component in _ordered(registry)],
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


def _components_table(registry: Registry) -> Table:
    from rich import box  # noqa: PLC0415 - not for --json
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold")
    for heading in ("kind", "name", "runs here"):
        table.add_column(heading, no_wrap=True)
    table.add_column("what it is, whose it is", ratio=1, overflow="fold")
    for component in _ordered(registry):
        facts = _facts(component)
        what = Text(facts["summary"])
        what.append(f"\n{'; '.join(_origin(facts))}", style="dim")
        runs = "yes" if facts["runs_here"] else "no"
        table.add_row(*map(Text, (facts["kind"], facts["name"], runs)), what)
    return table


def _origin(facts: dict[str, Any]) -> list[str]:
    """Distribution, density, licence and what is missing, in the words of the tables."""
    origin = [f"{facts['distribution']} {facts['version']}".strip()]
    if facts["density"]:
        origin.append(f"density: {facts['density']}")
    if facts["licence"]:
        what = "weights" if facts["kind"] == "encoder" else "audio"
        origin.append(f"{what}: {facts['licence']}")
    if facts["missing"]:
        origin.append(f"needs {', '.join(facts['missing'])}")
    return origin


def _troubles(registry: Registry) -> list[str]:
    refused = [f"Refused: {refusal}" for refusal in registry.refusals]
    conflicts = [
        f"Conflict: {group[0].spec.kind} '{group[0].spec.name}' is provided by "
        + " and by ".join(
            f"{component.provider.distribution} {component.provider.version}".strip()
            for component in group
        )
        for group in registry.conflicts()
    ]
    return refused + conflicts


def _description(component: Component) -> list[str]:
    facts = _facts(component)
    lines = [
        f"{facts['kind']} {facts['name']}: {facts['summary']}",
        f"{'; '.join(_origin(facts))} (module {component.provider.module})",
    ]
    if not option_fields(component.spec.options):
        lines.append("no options")
    return lines


def _options_table(component: Component) -> Table:
    from rich import box  # noqa: PLC0415 - not for --help
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    sections = SECTIONS.get(component.spec.kind, ())
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold")
    table.add_column("option", no_wrap=True)
    table.add_column("type", ratio=1)
    table.add_column("default", ratio=1)
    table.add_column("what it does", ratio=2)
    for option in option_fields(component.spec.options):
        default = "(must be given)" if option.required else json.dumps(option.default, default=str)
        table.add_row(*map(Text, (option.name, option.type, default, option.help)))
    if sections:
        table.caption = f"Set one with --set {sections[0]}.OPTION=VALUE"
        table.caption_justify = "left"
    return table
