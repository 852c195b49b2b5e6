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

__all__ = ["points_of"]

SECTION = "factorization"


def points_of(
    config: RunConfig, vary: Sequence[str] | Mapping[str, Sequence[Any]], registry: Registry
) -> list[dict[str, Any]]:
    """Name and options of each factorisation of a grid, the last key changing fastest.

    The options are those that are varied, and those of the configuration that are not the
    factorisation's defaults.

    Args:
        config: resolved, with a factorisation.
        vary: `factorization.OPTION` -> values, or texts `factorization.OPTION=a,b,...`.
        registry: where the factorisation is.

    Raises:
        UsageError: there is no factorisation, or a key is no option of it, names no values, or is
            given twice.
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
    varied = axes(vary)
    for key in varied:
        if not key.startswith(f"{SECTION}."):
            raise UsageError(
                f"--vary {key}: factorize varies options of the factorisation.",
                f"Write --vary {SECTION}.OPTION=a,b; set everything else with --set.",
            )
    names = [key.removeprefix(f"{SECTION}.") for key in varied]
    points = []
    for values in product(*varied.values()):
        options = dict(zip(names, values, strict=True))
        build_options(ComponentConfig.model_validate({**own, **options}), SECTION, registry)
        points.append({**own, **options})
    return points
