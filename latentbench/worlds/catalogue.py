"""From the options of a world to the world."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from latentbench.errors import UsageError, nearest
from latentbench.worlds.plugin import WORLD_OPTIONS
from latentbench.worlds.scales import scale_mixture, switching
from latentbench.worlds.sign_symmetric import sign_symmetric
from latentbench.worlds.state_space import state_space
from latentbench.worlds.var import ar1, var, white_noise

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from latentbench.worlds.plugin import WorldOptions
    from latentbench.worlds.world import World

__all__ = ["DRAWN", "build_world", "world_name", "world_options"]

# The options that say how much of a world is drawn, not which world it is.
DRAWN = frozenset({"speakers", "utterances", "frames", "seed"})

# World -> what makes it from its other options.
MAKERS: Mapping[str, Callable[..., World]] = {
    "iid": white_noise,
    "ar1": ar1,
    "var": var,
    "state-space": state_space,
    "scale-mixture": scale_mixture,
    "switching": switching,
    "sign-symmetric": sign_symmetric,
}


def world_options(name: str) -> type[WorldOptions]:
    """The options of the world of that name.

    Raises:
        UsageError: there is no such world; names the nearest.
    """
    if name not in WORLD_OPTIONS:
        raise UsageError(f"There is no world called '{name}'.", nearest(name, WORLD_OPTIONS))
    return WORLD_OPTIONS[name][0]


def world_name(options: WorldOptions) -> str:
    """The name of the world these are options of."""
    return next(name for name, (known, _) in WORLD_OPTIONS.items() if type(options) is known)


def build_world(options: WorldOptions) -> World:
    """The world that its options describe."""
    given: dict[str, Any] = asdict(options)
    which = {name: value for name, value in given.items() if name not in DRAWN}
    return MAKERS[world_name(options)](**which)
