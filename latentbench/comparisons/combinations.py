"""The runs that a comparison of components asks for: every combination, each an ordinary run.

`--encoder`, `--predictor` and `--corpus` take NAME, or LABEL=NAME where one component is wanted
twice with other options. `--set encoder.weights=random` is for every encoder that has the
option, `--set encoder.LABEL.weights=FILE` for that one, and wins.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass, fields
from itertools import product
from typing import TYPE_CHECKING, Any

from latentbench.config import assignment, nested, read_layers, resolve, shape
from latentbench.errors import UsageError, nearest

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from latentbench.comparisons.comparison import Match
    from latentbench.config import RunConfig
    from latentbench.plugins import Registry

__all__ = ["COMPARED", "Combination", "Request", "combine"]

COMPARED = ("encoder", "predictor", "corpus")
LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
NO_PATH = re.compile(r"[^A-Za-z0-9._-]+")
# By time (docs/compare.md): every encoder looks back 640 ms and is 80 to 640 ms stale, in as many
# frames as that is nearest to, and the same stretches of audio are predicted at every horizon.
IN_TIME: dict[str, Any] = {
    "context_ms": 640.0,
    "horizons_ms": [80.0, 160.0, 320.0, 640.0],
    "frame_set": "common",
}
# By frames W and k are as they are, whatever a frame lasts, as in the original.
FRAME_KEYS = ("context_frames", "horizons", "step_frames")
TIME_KEYS = ("context_ms", "horizons_ms", "step_ms")


@dataclass(frozen=True)
class Request:
    """What a user asked to compare.

    Attributes:
        components: section -> as typed, `NAME` or `LABEL=NAME`; none: that of the configuration.
        match: by time or by frames.
        flags: layers of the everyday flags.
        assignments: of `--set`.
        preset: to start from.
        config_file: of the user.
    """

    components: Mapping[str, Sequence[str]]
    match: Match = "ms"
    flags: Sequence[str | Mapping[str, Any]] = ()
    assignments: Sequence[str] = ()
    preset: str | None = None
    config_file: Path | None = None


@dataclass(frozen=True)
class Combination:
    """One run of a comparison.

    Attributes:
        label: those of its components of which several are compared.
        folder: name of its run folder.
        corpus: label of its corpus; combinations of one label are to use the same audio.
        config: resolved.
    """

    label: str
    folder: str
    corpus: str
    config: RunConfig


@dataclass(frozen=True)
class _Component:
    section: str
    label: str
    name: str
    options: frozenset[str]


def combine(request: Request, registry: Registry) -> list[Combination]:
    """Every combination of the components, resolved and validated.

    Raises:
        UsageError: fewer than two combinations, an unknown component, label or option, or a
            task set in the wrong unit.
    """
    ground = shape(read_layers(request.preset, request.config_file, []))
    chosen = {
        section: _components(
            section, request.components.get(section) or (getattr(ground, section).name,), registry
        )
        for section in COMPARED
    }
    if all(len(one) == 1 for one in chosen.values()):
        named = ", ".join(f"{section} '{one[0].label}'" for section, one in chosen.items())
        raise UsageError(
            f"A comparison needs at least two runs; this is one: {named}.",
            "Give --encoder, --predictor or --corpus several times, or name finished run folders.",
        )
    everywhere: list[str] = []
    own: dict[_Component, list[str]] = {one: [] for group in chosen.values() for one in group}
    for text, meant in _addressed(request.assignments, chosen):
        if meant is None:
            everywhere.append(text)
        for component in meant or ():
            own[component].append(text)
    general = [*request.flags, *everywhere]
    matched = _match_assignments(request.match, _touched(request, general))
    combinations = []
    for together in product(*chosen.values()):
        names = [f"{one.section}.name={json.dumps(one.name)}" for one in together]
        options = [_unlabelled(text, one) for one in together for text in own[one]]
        layers = read_layers(
            request.preset, request.config_file, [*names, *matched, *general, *options]
        )
        labels = [one.label for one in together if len(chosen[one.section]) > 1]
        combinations.append(
            Combination(
                label=" ".join(labels),
                folder="-".join(NO_PATH.sub("-", one.label) for one in together),
                corpus=together[COMPARED.index("corpus")].label,
                config=resolve(layers, registry),
            )
        )
    return combinations


def _components(section: str, typed: Sequence[str], registry: Registry) -> list[_Component]:
    found = []
    for text in typed:
        label, equals, name = text.partition("=")
        if not equals:
            name = label
        elif LABEL.fullmatch(label) is None:
            raise UsageError(
                f"--{section} {text}: '{label}' is no label.",
                "A label is of letters, digits, '.', '_' and '-', a letter or digit first.",
            )
        options = frozenset(
            option.name for option in fields(registry.get(section, name).spec.options)
        )
        if label in options:
            raise UsageError(
                f"--{section} {text}: '{label}' is the name of an option of '{name}'.",
                f"Choose another label, or --set {section}.{label}=... would mean both.",
            )
        found.append(_Component(section, label, name, options))
    label, times = Counter(one.label for one in found).most_common(1)[0]
    if times > 1:
        raise UsageError(
            f"--{section} {label} is given {times} times.",
            f"Label them, e.g. --{section} one={label} --{section} two={label} "
            f"--set {section}.one.OPTION=VALUE.",
        )
    return found


def _addressed(
    assignments: Sequence[str], chosen: Mapping[str, Sequence[_Component]]
) -> list[tuple[str, list[_Component] | None]]:
    """Each assignment and the components it is for, None: for no component that is compared.

    Those that name one component come last, and so win.
    """
    found: list[tuple[str, list[_Component] | None]] = []
    own: list[tuple[str, list[_Component] | None]] = []
    for text in assignments:
        key, equals, _ = text.partition("=")
        section, dot, rest = key.partition(".")
        if not equals or section not in COMPARED:
            found.append((text, None))
            continue
        if not dot or rest == "name":
            raise UsageError(
                f"--set {text}: what is compared is named with --{section}.",
                f"Write --{section} NAME, once for each.",
            )
        group = chosen[section]
        named = [one for one in group if rest.startswith(f"{one.label}.")]
        if named:
            own.append((text, [max(named, key=lambda one: len(one.label))]))
            continue
        option = rest.partition(".")[0]
        having = [one for one in group if option in one.options]
        if not having:
            known = {name for one in group for name in (*one.options, one.label)}
            labels = ", ".join(one.label for one in group)
            raise UsageError(
                f"--set {text}: '{option}' is neither an option of any {section} compared "
                f"nor the label of one ({labels}).",
                nearest(option, known),
            )
        found.append((text, having))
    return [*found, *own]


def _unlabelled(assignment: str, component: _Component) -> str:
    section = component.section
    _, _, rest = assignment.partition(".")
    return f"{section}.{rest.removeprefix(f'{component.label}.')}"


def _touched(request: Request, general: Sequence[str | Mapping[str, Any]]) -> set[str]:
    """The keys of the task that the user has set, by file, flag or `--set`."""
    given = read_layers(request.preset, request.config_file, general)["task"]
    standard = read_layers(None, None, [])["task"]
    changed = {key for key, value in given.items() if key not in standard or value != standard[key]}
    layers = [nested(*assignment(one)) if isinstance(one, str) else one for one in general]
    named = {key for layer in layers for key in layer.get("task", ())}
    return changed | named


def _match_assignments(match: Match, touched: Collection[str]) -> list[str]:
    """The settings of the task that the user left open, as `--set` takes them.

    Raises:
        UsageError: the user has set the task in the other unit.
    """
    wrong = [key for key in (FRAME_KEYS if match == "ms" else TIME_KEYS) if key in touched]
    if wrong and match == "ms":
        raise UsageError(
            f"task.{wrong[0]} is in frames, which --match ms sets from milliseconds.",
            "Set task.context_ms, task.horizons_ms or task.step_ms, or choose --match frames.",
        )
    if wrong:
        raise UsageError(
            f"task.{wrong[0]} is in milliseconds, and --match frames takes frames.",
            "Set task.context_frames, task.horizons or task.step_frames, or choose --match ms.",
        )
    if match == "frames":
        return []
    return [
        f"task.{key}={json.dumps(value)}" for key, value in IN_TIME.items() if key not in touched
    ]
