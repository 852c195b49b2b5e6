"""`--vary KEY=a,b,...`: every combination of the values of keys."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

from latentbench.config import ComponentConfig, axes, build_options
from latentbench.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from latentbench.config import RunConfig
    from latentbench.plugins import Registry

__all__ = ["points_of", "variations"]

SECTION = "factorization"


def variations(asked: Sequence[str] | Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Every combination of the values, as key -> value, the last key changing fastest.

    Args:
        asked: key -> values, or texts `KEY=a,b,...`; without any there is one combination, of no
            key.

    Raises:
        UsageError: one is no assignment, has no value, or a key or value is given twice.
    """
    keys = axes(asked)
    return [dict(zip(keys, values, strict=True)) for values in product(*keys.values())]


def points_of(
    config: RunConfig, vary: Sequence[str] | Mapping[str, Sequence[Any]], registry: Registry
) -> list[dict[str, Any]]:
    """Name and options of each factorisation of a grid.

    The options are those that are varied, and those of the configuration that are not the
    factorisation's defaults.

    Args:
        config: resolved, with a factorisation.
        vary: `factorization.OPTION` -> values, or texts `factorization.OPTION=a,b,...`.
        registry: where the factorisation is.

    Raises:
        UsageError: there is no factorisation, or a key is no option of it.
    """
    chosen = config.factorization
    if chosen.name == "none":
        raise UsageError(
            "There is nothing to factorize: the factorisation is 'none'.",
            "Name one with --factorization, e.g. linear.",
        )
    plain = build_options(ComponentConfig(name=chosen.name), SECTION, registry)
    given = chosen.model_dump()
    own = {"name": given.pop("name")}
    own |= {key: value for key, value in given.items() if value != getattr(plain, key, None)}
    if "dim" in given:
        own["dim"] = given["dim"]
    points = []
    for values in variations(vary):
        for key in values:
            if key.partition(".")[0] != SECTION or "." not in key:
                raise UsageError(
                    f"--vary {key}: factorize varies options of the factorisation.",
                    f"Write --vary {SECTION}.OPTION=a,b; set everything else with --set.",
                )
        options = {key.partition(".")[2]: value for key, value in values.items()}
        build_options(ComponentConfig.model_validate({**own, **options}), SECTION, registry)
        points.append({**own, **options})
    return points
