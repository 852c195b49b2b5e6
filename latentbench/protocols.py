"""Which protocol a run follows, and what it changes of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from latentbench.config import IN_EITHER_UNIT, dotted, preset_names, read_layers, resolve

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from latentbench.config import ComponentConfig, RunConfig
    from latentbench.plugins import Registry

__all__ = ["followed"]

# What a protocol leaves open: what is measured, and where and by what it is computed.
OPEN = ("protocol", "encoder", "engine", "device", "evaluation.batch_size")
# Of a corpus: where it lies.
PLACES = ("root", "mirror")
COMPONENTS = ("corpus", "predictor", "baseline")


def followed(config: RunConfig, registry: Registry) -> str:
    """The protocol of a run, and each key in which it differs: `lb1 with seeds=[0]`.

    Args:
        config: resolved.
        registry: where the components of the preset are.
    """
    if config.protocol not in preset_names():
        return config.protocol
    standard = resolve(read_layers(config.protocol, None), registry)
    changes = [*_other_components(config, standard), *_other_values(config, standard)]
    return config.protocol + (f" with {', '.join(changes)}" if changes else "")


def _other_components(config: RunConfig, standard: RunConfig) -> Iterator[str]:
    for section in COMPONENTS:
        mine, theirs = getattr(config, section), getattr(standard, section)
        if mine.name != theirs.name:
            yield f"{section}={mine.name}"
        usual = _options(theirs) if mine.name == theirs.name else _defaults(mine)
        for key, value in _options(mine).items():
            if key not in PLACES and usual.get(key, value) != value:
                yield f"{section}.{key}={_shown(value)}"


def _options(component: ComponentConfig) -> dict[str, Any]:
    return {key: value for key, value in component.model_dump().items() if key != "name"}


def _defaults(component: ComponentConfig) -> dict[str, Any]:
    """Those of its options that need not be given."""
    fields = getattr(component.options, "__dataclass_fields__", {})
    made = _options(component)
    return {key: fields[key].default for key in made if key in fields}


def _other_values(config: RunConfig, standard: RunConfig) -> Iterator[str]:
    mine, theirs = _values(config), _values(standard)
    for key, value in mine.items():
        if theirs.get(key) != value:
            yield f"{key}={_shown(value)}"


def _values(config: RunConfig) -> Mapping[str, Any]:
    """Every other key that decides the numbers; a time in the unit that it was given in."""
    tree = config.model_dump(mode="json", exclude={*COMPONENTS})
    for in_frames, in_ms in IN_EITHER_UNIT.items():
        tree["task"].pop(in_ms if tree["task"].get(in_ms) is None else in_frames, None)
    return {
        key: value
        for key, value in dotted(tree).items()
        if key not in OPEN and key.partition(".")[0] not in OPEN
    }


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
