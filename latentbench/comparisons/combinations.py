"""The runs that a comparison of components asks for, and their making: each an ordinary run.

`--encoder`, `--predictor`, `--corpus` and `--factorization` take NAME, or LABEL=NAME where one
component is wanted twice with other options. `--set encoder.weights=random` is for every encoder
that has the option, `--set encoder.LABEL.weights=FILE` for that one, and wins.
`--vary KEY=VALUE,VALUE` makes a run of each value.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field, fields, replace
from itertools import product
from typing import TYPE_CHECKING, Any, TypeAlias

from latentbench.checks import prepare
from latentbench.comparisons.comparison import Failure
from latentbench.config import assignment, axes, nested, read_layers, resolve, shape
from latentbench.errors import BusyError, LatentbenchError, UsageError, nearest
from latentbench.experiment import as_they_come_free, run_experiment
from latentbench.results import RunFolder
from latentbench.results.finished import FinishedRun
from latentbench.specs import PredictorSpec
from latentbench.tasks.windows import PHASE1_LAGS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from latentbench.comparisons.comparison import Match
    from latentbench.config import RunConfig
    from latentbench.plugins import Registry
    from latentbench.progress import Progress
    from latentbench.workspace import Workspace

    Layer: TypeAlias = Mapping[str, Any]

__all__ = ["COMPARED", "Combination", "Request", "combine", "run_combinations"]

COMPARED = ("encoder", "predictor", "corpus", "factorization")
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
DEFAULT_PRESET = "lb1"
VARY_HINT = "Write e.g. --vary task.context_ms=80,640; in YAML vary: {task.context_ms: [80, 640]}."
FRAME_KEYS = ("context_frames", "horizons", "step_frames", "first_frame")
TIME_KEYS = ("context_ms", "horizons_ms", "step_ms", "first_ms")


@dataclass(frozen=True)
class Request:
    """What a user asked to compare.

    Attributes:
        components: section -> `NAME`, `LABEL=NAME`, or a mapping with a name, options and perhaps
            a `label`; none: that of the configuration.
        match: by time or by frames.
        settings: a layer of the configuration, for every run.
        assignments: of `--set`.
        preset: to start from; by default `lb1`.
        config_file: of the user; its `vary` is as the one here, which wins.
        vary: key such as `task.context_ms` -> the values of which each makes a run, or texts
            `KEY=VALUE,VALUE`.
    """

    components: Mapping[str, Sequence[str | Mapping[str, Any]]]
    match: Match = "ms"
    settings: Mapping[str, Any] = field(default_factory=dict)
    assignments: Sequence[str] = ()
    preset: str | None = None
    config_file: Path | None = None
    vary: Mapping[str, Sequence[Any]] | Sequence[str] = ()


@dataclass(frozen=True)
class Combination:
    """One run of a comparison.

    Attributes:
        label: those of its components of which several are compared, and what varies.
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
    given: Mapping[str, Any]
    options: frozenset[str]
    own: list[Layer] = field(default_factory=list)  # options set for this one


def combine(request: Request, registry: Registry) -> list[Combination]:
    """Every combination of the components, resolved and validated.

    Raises:
        UsageError: fewer than two combinations, an unknown component, label or option, or a
            task set in the wrong unit.
    """
    preset = request.preset or DEFAULT_PRESET
    ground = shape(_layers(preset, request.config_file, [request.settings]))
    varying = _axes(request, preset)
    chosen = {
        section: _components(
            section, request.components.get(section) or (getattr(ground, section).name,), registry
        )
        for section in COMPARED
    }
    _require_options(varying, chosen)
    everywhere = list(_addressed(map(assignment, request.assignments), chosen))
    general = [request.settings, *everywhere]
    touched = _touched(request, general) | {parts[1] for parts, _ in varying if parts[0] == "task"}
    matched = _matched(request.match, touched)
    names_of_axes = _short([parts for parts, _ in varying])
    chosen["predictor"] = list(_with_controls(chosen["predictor"], registry))
    _require_several(chosen, [values for _, values in varying])
    combinations = []
    for together, values in product(
        product(*chosen.values()), product(*(values for _, values in varying))
    ):
        names = [{one.section: one.given} for one in together]
        options = [layer for one in together for layer in one.own]
        varied = [nested(parts, value) for (parts, _), value in zip(varying, values, strict=True)]
        above = [*names, matched, *general, *options, *varied]
        labels = [one.label for one in together if len(chosen[one.section]) > 1]
        told = [f"{name}={_text(one)}" for name, one in zip(names_of_axes, values, strict=True)]
        labels += told
        combinations.append(
            Combination(
                label=" ".join(labels),
                folder="-".join(
                    NO_PATH.sub("-", one)
                    for one in (*(one.label for one in together if _named(one)), *told)
                ),
                corpus=together[COMPARED.index("corpus")].label,
                config=resolve(_layers(preset, request.config_file, above), registry),
            )
        )
    spans = {"context_ms", "context_frames", "horizons", "horizons_ms"}
    varied_in_length = any(parts[0] == "task" and parts[1] in spans for parts, _ in varying)
    if varied_in_length and not touched & {"first_ms", "first_frame"}:
        return _on_same_frames(combinations)
    return combinations


def _on_same_frames(combinations: Sequence[Combination]) -> list[Combination]:
    """The same, each predicting what the one that needs most frames before it can predict.

    Otherwise a longer context is fitted and scored on fewer frames, and later ones.
    """
    tasks = [one.config.task for one in combinations]
    if all(one.context_ms is not None and one.horizons_ms is not None for one in tasks):
        spans = [(one.context_ms or 0.0) + max(one.horizons_ms or ()) for one in tasks]
        first: dict[str, Any] = {"first_ms": max(spans)}
    else:
        reach = [one.context_frames - 1 + max(*one.horizons, PHASE1_LAGS) for one in tasks]
        first = {"first_frame": max(reach)}
    return [
        replace(one, config=one.config.model_copy(update={"task": task.model_copy(update=first)}))
        for one, task in zip(combinations, tasks, strict=True)
    ]


def _layers(preset: str | None, file: Path | None, above: Sequence[Layer]) -> dict[str, Any]:
    """The layers as one, without what the file varies."""
    layers = read_layers(preset, file, above)
    layers.pop("vary", None)
    return layers


def _axes(request: Request, preset: str) -> list[tuple[list[str], list[Any]]]:
    """Each key that varies, part by part, and its values.

    Raises:
        UsageError: a key that names no value of the configuration, or no or equal values.
    """
    of_file = read_layers(preset, request.config_file).get("vary") or {}
    if not isinstance(of_file, dict):
        raise UsageError("vary: is no mapping of keys.", VARY_HINT)
    found = []
    for key, values in {**axes(of_file), **axes(request.vary)}.items():
        parts = key.split(".")
        if len(parts) == 1 or not all(parts) or parts[1:] == ["name"]:
            raise UsageError(f"--vary {key}: this is no key of a section.", VARY_HINT)
        found.append((parts, values))
    return found


def _require_options(
    axes: Sequence[tuple[list[str], list[Any]]], chosen: Mapping[str, Sequence[_Component]]
) -> None:
    """Refuse to vary an option that a compared component does not have: its runs were equal."""
    for (section, name, *_), _ in axes:
        for one in chosen.get(section, ()):
            if name not in one.options:
                raise UsageError(
                    f"--vary {section}.{name}: '{one.label}' has no option '{name}'.",
                    nearest(name, one.options),
                )


def _short(keys: Sequence[list[str]]) -> list[str]:
    """The last part of each key, or all of it where two end alike."""
    ends = Counter(parts[-1] for parts in keys)
    return [parts[-1] if ends[parts[-1]] == 1 else ".".join(parts) for parts in keys]


def _text(value: Any) -> str:
    return str(value).replace(" ", "")


def _components(
    section: str, asked: Sequence[str | Mapping[str, Any]], registry: Registry
) -> list[_Component]:
    found = []
    for one in asked:
        label, given = _labelled(section, one) if isinstance(one, str) else _apart(one)
        known = fields(registry.get(section, given["name"]).spec.options)
        options = frozenset(option.name for option in known)
        if label in options:
            raise UsageError(
                f"--{section} {label}=...: '{label}' is the name of an option of "
                f"'{given['name']}'.",
                f"Choose another label, or --set {section}.{label}=... would mean both.",
            )
        found.append(_Component(section, label, given, options))
    label, times = Counter(one.label for one in found).most_common(1)[0]
    if times > 1:
        raise UsageError(
            f"--{section} {label} is given {times} times.",
            f"Label them, e.g. --{section} one={label} --{section} two={label} "
            f"--set {section}.one.OPTION=VALUE.",
        )
    return found


def _require_several(
    chosen: Mapping[str, Sequence[_Component]], varying: Sequence[Sequence[Any]]
) -> None:
    """Refuse a comparison of a single run; controls that a predictor brings count."""
    if all(len(one) == 1 for one in (*chosen.values(), *varying)):
        named = ", ".join(f"{section} '{one[0].label}'" for section, one in chosen.items())
        raise UsageError(
            f"A comparison needs at least two runs; this is one: {named}.",
            "Give --encoder, --predictor, --corpus or --factorization several times, or --vary "
            "KEY=VALUE,VALUE, or name finished run folders.",
        )


def _with_controls(components: Sequence[_Component], registry: Registry) -> Iterator[_Component]:
    """Each predictor with the controls that its spec says always stand beside it.

    A predictor of which an option of theirs is set is one of them, or is compared with others.
    """
    for one in components:
        yield one
        spec = registry.get("predictor", one.given["name"]).spec
        controls = spec.controls if isinstance(spec, PredictorSpec) else {}
        given = {key for layer in one.own for key in layer["predictor"]} | set(one.given)
        for name, options in controls.items():
            if not given & set(options):
                own = [*one.own, {"predictor": dict(options)}]
                yield replace(one, label=f"{one.label}-{name}", own=own)


def _named(component: _Component) -> bool:
    """Whether a folder is named after it: not after the latents as they are, if nobody asked."""
    return component.section != "factorization" or component.label != "none"


def _labelled(section: str, text: str) -> tuple[str, Mapping[str, Any]]:
    label, equals, name = text.partition("=")
    if not equals:
        return label, {"name": label}
    if LABEL.fullmatch(label) is None:
        raise UsageError(
            f"--{section} {text}: '{label}' is no label.",
            "A label is of letters, digits, '.', '_' and '-', a letter or digit first.",
        )
    return label, {"name": name}


def _apart(given: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    return given.get("label", given["name"]), {key: given[key] for key in given if key != "label"}


def _addressed(
    assignments: Iterable[tuple[list[str], Any]], chosen: Mapping[str, Sequence[_Component]]
) -> Iterator[Layer]:
    """Give each component the options set for it, and yield the layers that are for no component.

    Those set for a component by its label come last, and so win.
    """
    labelled: list[tuple[_Component, Layer]] = []
    for parts, value in assignments:
        section, *rest = parts
        if section not in COMPARED:
            yield nested(parts, value)
            continue
        key = ".".join(parts)
        if rest in ([], ["name"]):
            raise UsageError(
                f"--set {key}: what is compared is named with --{section}.",
                f"Write --{section} NAME, once for each.",
            )
        named = [one for one in chosen[section] if _is_for(one, rest)]
        if named:
            meant = max(named, key=lambda one: len(one.label))
            rest = rest[meant.label.count(".") + 1 :]
            labelled.append((meant, nested([section, *rest], value)))
            continue
        having = [one for one in chosen[section] if rest[0] in one.options]
        if not having:
            known = {name for one in chosen[section] for name in (*one.options, one.label)}
            labels = ", ".join(one.label for one in chosen[section])
            raise UsageError(
                f"--set {key}: '{rest[0]}' is neither an option of any {section} compared "
                f"nor the label of one ({labels}).",
                nearest(rest[0], known),
            )
        for one in having:
            one.own.append(nested(parts, value))
    for one, layer in labelled:
        one.own.append(layer)


def _is_for(component: _Component, rest: Sequence[str]) -> bool:
    label = component.label.split(".")
    return len(rest) > len(label) and rest[: len(label)] == label


def _touched(request: Request, general: Sequence[Layer]) -> set[str]:
    """The keys of the task that the user has set, by file, flag or `--set`."""
    given = _layers(request.preset, request.config_file, general)["task"]
    standard = read_layers(None, None)["task"]
    changed = {key for key, value in given.items() if key not in standard or value != standard[key]}
    return changed | {key for layer in general for key in layer.get("task", ())}


def _matched(match: Match, touched: Collection[str]) -> Layer:
    """The settings of the task that the user left open.

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
        return {"task": dict.fromkeys(TIME_KEYS)}
    return {"task": {key: value for key, value in IN_TIME.items() if key not in touched}}


def run_combinations(
    combinations: Sequence[Combination],
    out: Path,
    workspace: Workspace,
    registry: Registry,
) -> tuple[list[FinishedRun], list[Failure]]:
    """Run every combination in its folder below `out`; those that are finished are read.

    The same command given again meanwhile, here or wherever the folder is seen, takes part. All
    are checked before the first one starts. A model that one has fitted is not fitted again by
    another that needs the very same (`latentbench.fits`). One that fails later is told and named
    among the failures, and the others go on.

    Raises:
        UsageError: one is refused by the checks.
        LatentbenchError: none could be run; that of the first.
    """
    for one in combinations:
        _check(one, out, workspace, registry)
    workspace = replace(workspace, beside=tuple(out / one.folder for one in combinations))
    runs: dict[str, FinishedRun] = {}
    errors: dict[str, LatentbenchError] = {}

    def make(one: Combination, progress: Progress) -> None:
        folder = out / one.folder
        try:
            run_experiment(one.config, folder, replace(workspace, progress=progress), registry)
            runs[one.label] = FinishedRun.read(folder, one.label, one.corpus)
        except BusyError:
            raise
        except LatentbenchError as error:
            progress.say(f"{one.label} failed: {error}")
            errors[one.label] = error

    as_they_come_free(combinations, make, workspace.progress)
    if errors and not runs:
        raise next(iter(errors.values()))
    labels = [one.label for one in combinations]
    return (
        [runs[label] for label in labels if label in runs],
        [Failure(label=label, error=str(errors[label])) for label in labels if label in errors],
    )


def _check(one: Combination, out: Path, workspace: Workspace, registry: Registry) -> None:
    """Refuse a run that cannot be made; one that is finished is read, whatever its audio is now."""
    if RunFolder(out / one.folder).result_file.exists():
        return
    try:
        prepare(one.config, workspace, registry)
    except UsageError as error:
        raise UsageError(f"{one.label}: {error.message}", error.hint) from None
