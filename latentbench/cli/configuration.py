"""The options of `run`, `encode` and `compare` that decide the configuration.

Layers, later ones winning: the preset `phase1`, `--preset`, `--config`, the everyday flags,
`--set`. Flags come before `--set`, so that `--encoder soundstream --set encoder.dither=false`
first names the component and then sets its option, in whatever order they are typed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import click

from latentbench.cli.session import GivenPath, Integers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from latentbench.api import Settings
    from latentbench.cli.session import Session

__all__ = ["configuration_options", "run_options", "settings_of"]

FLAGS = (
    *("encoder", "predictor", "corpus", "factorization", "transforms", "horizons", "slices"),
    *("steps", "precision", "limit", "seed", "seeds", "device"),
)
COMPONENT_OPTIONS = (
    click.option("--encoder", metavar="NAME", help="What makes the latents, e.g. mimi."),
    click.option("--predictor", metavar="NAME", help="What predicts them, e.g. mdn."),
    click.option("--corpus", metavar="NAME", help="Where the audio is from, e.g. librispeech."),
    click.option(
        "--factorization", metavar="NAME", help="Predict a state of the latents, e.g. linear."
    ),
)
RUN_OPTIONS = (
    click.option(
        "--preset",
        metavar="NAME",
        help="Start from a preset: phase1, lb1, lb1-small, quick, phase0, demo.",
    ),
    click.option(
        "--config",
        "config_file",
        metavar="FILE",
        type=GivenPath(),
        help="Values from a YAML file, over the preset's.",
    ),
    click.option(
        "--set",
        "assignments",
        metavar="KEY=VALUE",
        multiple=True,
        help="One value by its key, e.g. predictor.components=4; wins over all else.",
    ),
    click.option(
        "--transform",
        "transforms",
        metavar="NAME",
        multiple=True,
        help="Map the latents, e.g. standardize or pca:32; several are applied in turn.",
    ),
    click.option(
        "--horizons", metavar="K,K,...", type=Integers(), help="Staleness k in frames: 1,2,4,8."
    ),
    click.option(
        "--slice",
        "slices",
        metavar="NAME",
        multiple=True,
        help="Also score this subset of frames; may be given several times.",
    ),
    click.option("--steps", type=int, metavar="N", help="Training steps."),
    click.option("--seed", type=int, metavar="N", help="Of initialisation and sampling."),
    click.option(
        "--seeds",
        metavar="N,N,...",
        type=Integers(),
        help="Several seeds, each a model of its own.",
    ),
    click.option("--device", metavar="NAME", help="auto, cpu, cuda, cuda:1, ..."),
    click.option("--precision", metavar="NAME", help="Of training: fp32 or bf16."),
    click.option(
        "--limit", type=int, metavar="N", help="Use N utterances of all speakers in turn."
    ),
)


def configuration_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add every option that `settings_of` takes but `--cache`."""
    command = run_options(command)
    for option in reversed(COMPONENT_OPTIONS):
        command = option(command)
    return command


def run_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that name no encoder, predictor or corpus."""
    for option in reversed(RUN_OPTIONS):
        command = option(command)
    return command


def settings_of(session: Session, given: Mapping[str, Any]) -> Settings:
    """What the options of the command line set, as the functions of `latentbench.api` take it.

    Args:
        session: with the plugins to load.
        given: the values of `configuration_options` or `run_options`, and `cache`, by parameter.
    """
    flags = {name: given[name] for name in FLAGS if given.get(name) not in (None, ())}
    settings = {"preset": given["preset"], "config": given["config_file"]}
    settings |= {"set": given["assignments"], "cache": given["cache"]}
    return cast("Settings", settings | flags | {"registry": session.registry})
