"""`latentbench plugins check`: does a component keep the contract of its kind?"""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import click

from latentbench import api
from latentbench.cli.output import Verb, console, echo_json
from latentbench.cli.session import Session, cache_option
from latentbench.errors import UsageError
from latentbench.reports.tables import ANY_WIDTH, Line, Table, column, show
from latentbench.specs import KINDS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from latentbench.conformance import Finding
    from latentbench.conformance.check import Status
    from latentbench.plugins import Component, Registry

__all__ = ["check"]

STYLES: dict[Status, str] = {"pass": "", "warn": "yellow", "skip": "dim", "fail": "bold red"}
COUNTED: dict[Status, str] = {
    "pass": "passed",
    "warn": "in doubt",
    "skip": "skipped",
    "fail": "failed",
}


@click.command(cls=Verb)
@click.argument("name")
@click.option("--kind", type=click.Choice(list(KINDS)), help="Where several kinds share NAME.")
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="OPTION=VALUE",
    help="An option of the component, e.g. weights=random; may be given several times.",
)
@cache_option
@click.pass_obj
def check(
    session: Session,
    name: str,
    kind: str | None,
    assignments: tuple[str, ...],
    cache: Path | None,
    *,
    as_json: bool,
) -> None:
    """Check that the component NAME keeps the contract of its kind.

    Exits with 1 where it does not.
    """
    registry = session.registry
    component = _chosen(registry, name, kind)
    options = _options(registry, component, assignments)
    from latentbench.conformance import run_checks  # noqa: PLC0415 - checks import torch

    findings = list(run_checks(component, options, api.workspace(cache)))
    if as_json:
        echo_json(_as_json(component, findings))
    else:
        _print(findings)
    if any(finding.status == "fail" for finding in findings):
        raise click.exceptions.Exit(1)


def _chosen(registry: Registry, name: str, kind: str | None) -> Component:
    """The one component of that name.

    Raises:
        UsageError: there is none, or there are several.
    """
    if kind is None:
        kinds = sorted({component.spec.kind for component in registry.find(name)})
        if len(kinds) > 1:
            raise UsageError(
                f"'{name}' is the name of several kinds: {', '.join(kinds)}.",
                f"Say which: --kind {kinds[0]}.",
            )
        kind = kinds[0]
    return registry.get(kind, name)


def _options(registry: Registry, component: Component, assignments: Sequence[str]) -> Any:
    """The validated options; `weights=x` and `encoder.weights=x` both set an encoder's.

    Raises:
        UsageError: an unknown option, or a value of a wrong type.
    """
    from latentbench.config import (  # noqa: PLC0415 - imports pydantic
        ComponentConfig,
        build_options,
        read_layers,
    )

    kind, name = component.spec.kind, component.spec.name
    keys = [f"{kind}.{given.removeprefix(f'{kind}.')}" for given in assignments]
    layers = read_layers(None, None, [f"{kind}.name={json.dumps(name)}", *keys])
    return build_options(ComponentConfig(**layers[kind]), kind, registry)


def _as_json(component: Component, findings: Sequence[Finding]) -> dict[str, Any]:
    shown = ("check", "status", "wanted", "detail")
    return {
        "name": component.spec.name,
        "kind": component.spec.kind,
        "distribution": component.provider.distribution,
        "version": component.provider.version,
        "passed": all(finding.status != "fail" for finding in findings),
        "checks": [{key: getattr(finding, key) for key in shown} for finding in findings],
    }


def _print(findings: Sequence[Finding]) -> None:
    """Check, result and what was found; what was wanted stands where it was not found."""

    def detail(one: Finding) -> str:
        wanted = f"{one.wanted}\n" if one.status in {"fail", "warn"} else ""
        return wanted + one.detail

    counts = Counter(finding.status for finding in findings)
    parts = (
        Line(findings[0].whose, "bold"),
        Table(
            (
                column("check", findings, lambda one: one.check, left=True),
                column("result", findings, lambda one: one.status, left=True),
                column("detail", findings, detail, left=True, fold=ANY_WIDTH),
            ),
            styles=tuple(STYLES[finding.status] for finding in findings),
        ),
        Line(),
        Line(", ".join(f"{counts[status]} {text}" for status, text in COUNTED.items())),
    )
    show(parts, console())
