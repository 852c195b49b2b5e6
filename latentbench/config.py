"""The run's configuration: presets, files, settings and `--set`, merged, validated, resolved.

There is one way from what a user says to what a run takes: every layer is a mapping, later layers
win, pydantic validates what is merged, and the options of each component become the dataclass that
its spec names. The fields and their defaults are Phase 1's exact protocol; `presets/phase1.yaml`
says the same in a file a user can copy. An unknown key is refused with the nearest known one named.
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, fields
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Annotated, Any, Literal

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    SerializerFunctionWrapHandler,
    TypeAdapter,
    ValidationError,
    model_serializer,
    model_validator,
)

from latentbench.errors import UsageError, nearest
from latentbench.escapes import as_utf8
from latentbench.files import DamagedFileError, damage, is_sealed
from latentbench.plain_yaml import DEEPEST, load, written
from latentbench.specs import PredictorSpec, option_fields

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from latentbench.plugins import Registry
    from latentbench.specs import Density

__all__ = [
    "ComponentConfig",
    "EvaluationConfig",
    "RolloutConfig",
    "RunConfig",
    "SplitConfig",
    "TaskConfig",
    "TrainingConfig",
    "UnrollingConfig",
    "UtteranceConfig",
    "assignment",
    "axes",
    "build_options",
    "density_of",
    "dotted",
    "make",
    "merged",
    "nested",
    "preset_names",
    "read_component",
    "read_layers",
    "resolve",
    "settings_layer",
    "shape",
]

# What int32 holds: tables keep frames and seeds in it.
LARGEST = 2**31 - 1
# What int16 holds: tables keep horizons in it.
LARGEST_HORIZON = 2**15 - 1

# Strict: `true` is no 1.
PositiveInt = Annotated[int, Field(strict=True, gt=0, le=LARGEST)]
Horizon = Annotated[int, Field(strict=True, gt=0, le=LARGEST_HORIZON)]
Count = Annotated[int, Field(strict=True, ge=0, le=LARGEST)]
Float = Annotated[float, Field(strict=True)]
PositiveFloat = Annotated[Float, Field(gt=0)]


def _all_different(values: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(set(values)) < len(values):
        raise ValueError("names one of them twice")
    return values


Distinct = AfterValidator(_all_different)


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ComponentConfig(BaseModel):
    """A component by name; every other key of its mapping is one of its options.

    Attributes:
        name: in the registry.
        inline: digest of the code of a component that was given from Python; empty for a plugin's.
        options: the dataclass of its spec once it is resolved; before, and where it comes from
            another process, the mapping it was given as.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    inline: str = ""
    options: Any = {}

    @model_validator(mode="before")
    @classmethod
    def _apart(cls, given: Any) -> Any:
        if isinstance(given, str):
            return {"name": given}
        if not isinstance(given, Mapping):
            return given
        own = {key: given[key] for key in ("name", "inline") if key in given}
        return own | {"options": {key: given[key] for key in given if key not in own}}

    @model_serializer
    def _together(self) -> dict[str, Any]:
        ready = not isinstance(self.options, Mapping)
        inline = {"inline": self.inline} if self.inline else {}
        return {"name": self.name, **inline, **(asdict(self.options) if ready else self.options)}

    def __reduce__(self) -> tuple[Any, ...]:
        # A worker knows the classes of options only when it has loaded the plugins.
        return ComponentConfig.model_validate, (self.model_dump(),)


def _short(component: ComponentConfig) -> Any:
    """The name alone where there are no options."""
    whole = component.model_dump()
    return whole if len(whole) > 1 else component.name


def _one_of_each(metrics: tuple[ComponentConfig, ...]) -> tuple[ComponentConfig, ...]:
    _all_different(tuple(one.name for one in metrics))
    return metrics


MetricConfig = Annotated[ComponentConfig, PlainSerializer(_short)]


class SplitConfig(_Section):
    """Who is trained on and who is evaluated (the original's rule).

    `validation_fraction` of the train speakers, at least 2 and at most 20, are kept apart by the
    same rule with `validation_seed`: by their loss the best weights are chosen. With `by=file` each
    utterance counts as a speaker of its own: for a corpus of one voice, and the result is stamped.
    """

    by: Literal["speaker", "file"] = "speaker"
    eval_fraction: Annotated[Float, Field(gt=0, lt=1)] = 0.2
    seed: Count = 42
    validation_fraction: Annotated[Float, Field(ge=0, lt=1)] = 0.0
    validation_seed: Count = 43


class UtteranceConfig(_Section):
    """Which utterances of the corpus are used.

    `limit` keeps that many, taken from all speakers in turn, and stamps the result.
    """

    min_seconds: Annotated[Float, Field(ge=0)] = 3.0
    limit: PositiveInt | None = None


class LatentsConfig(_Section):
    """How latents are kept on disk.

    `float16` halves them and stamps the result: a number is off by at most 2^-11 of itself, or
    2^-25 where it is smaller than 2^-14. What is computed with them is float32 in either case.
    """

    dtype: Literal["float32", "float16"] = "float32"


class TaskConfig(_Section):
    """What is predicted from what: W context frames, staleness k, the target, the frame set.

    A setting in milliseconds takes the place of that in frames, at the encoder's rate. `only`
    names a slice whose frames alone are fitted and scored, as the original's `--slice` did. No
    frame before `first_frame` of its utterance is predicted, so that contexts of several lengths
    can be held against each other on the same frames.
    """

    context_frames: PositiveInt = 8
    context_ms: PositiveFloat | None = None
    horizons: Annotated[tuple[Horizon, ...], Field(min_length=1), Distinct] = (1, 2, 4, 8)
    horizons_ms: Annotated[tuple[PositiveFloat, ...], Field(min_length=1), Distinct] | None = None
    target: Literal["delta", "x"] = "delta"
    step_frames: PositiveInt = 1
    step_ms: PositiveFloat | None = None
    first_frame: Count = 0
    first_ms: PositiveFloat | None = None
    frame_set: Literal["phase1", "own", "common"] = "phase1"
    slices: Annotated[tuple[str, ...], Field(min_length=1), Distinct] = (
        "all",
        "high_energy",
        "utterance_medial",
    )
    only: str = "all"

    @model_serializer(mode="wrap")
    def _without_first(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out a first frame that is not set: runs older than it have the same digest."""
        found: dict[str, Any] = handler(self)
        unset = {"first_frame": 0, "first_ms": None}
        return {key: one for key, one in found.items() if key not in unset or one != unset[key]}


class UnrollingConfig(_Section):
    """Training on the model's own frames, for every predictor that trains by gradient descent.

    With `steps` = K > 0 the model is rolled out over K frames, after `start` steps of ordinary
    training; with `noise` its true contexts are given noise. Published: 16 steps with these
    weights, 5,000 steps at a learning rate of 2e-4 after a training of 25,000.
    """

    steps: Count = 0
    start: Count = 0
    weight: Annotated[Float, Field(ge=0)] = 1.0
    teacher_weight: Annotated[Float, Field(ge=0)] = 0.1
    state_weight: Annotated[Float, Field(ge=0)] = 0.05
    teacher_probability: Annotated[Float, Field(ge=0, le=1)] = 0.2
    teacher_steps: PositiveInt = 2_000
    clip: PositiveFloat = 5.0
    mode: Literal["mean", "sample"] = "mean"
    noise: Annotated[Float, Field(ge=0)] = 0.0


class TrainingConfig(_Section):
    """How a predictor that trains by gradient descent is trained.

    Where there is a validation side, the loss on `validation_frames` of it is taken every
    `evaluate_every` steps. `select: best` keeps the weights of the least, and ends the training
    after `patience` evaluations that did not lower it by `min_gain`, nats of an NLL and per cent of
    any other loss. `compile` has `torch.compile` fuse the loss of a batch and its gradient;
    `rollout` takes the usual path.
    """

    steps: PositiveInt = 25_000
    batch_size: PositiveInt = 256
    learning_rate: PositiveFloat = 1e-3
    weight_decay: Annotated[Float, Field(ge=0)] = 1e-4
    clip_norm: PositiveFloat = 1.0
    sampling: Literal["stream", "uniform"] = "stream"
    shuffle_buffer: PositiveInt = 8_192
    precision: Literal["fp32", "bf16"] = "fp32"
    compile: bool = False
    select: Literal["last", "best"] = "last"
    evaluate_every: PositiveInt = 250
    patience: PositiveInt = 5
    min_gain: Annotated[Float, Field(ge=0)] = 0.02
    validation_frames: PositiveInt = 20_000
    rollout: UnrollingConfig = UnrollingConfig()

    @model_serializer(mode="wrap")
    def _without_later(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what older runs did not have, where it is unused: they keep their digest."""
        found: dict[str, Any] = handler(self)
        if self.rollout == UnrollingConfig():
            found.pop("rollout", None)
        if not self.compile:
            found.pop("compile", None)
        return found


class EvaluationConfig(_Section):
    """Which frames are scored, and by what: names of metrics, or mappings of name and options.

    `max_frames` of a side are the first of the stream, or of every speaker in turn, at most those
    in the first `max_seconds_per_speaker` of each.
    """

    max_frames: PositiveInt = 200_000
    order: Literal["stream", "round_robin"] = "stream"
    max_seconds_per_speaker: PositiveFloat | None = None
    batch_size: PositiveInt = 2_048
    metrics: Annotated[
        tuple[MetricConfig, ...], Field(min_length=1), AfterValidator(_one_of_each)
    ] = tuple(
        ComponentConfig(name=name)
        for name in ("nll", "dnll", "direction_cos", "logmag_r2", "logmag_r2_var")
    )


class RolloutConfig(_Section):
    """The rollout: how many eval utterances are drawn, how far each goes, and by which seed.

    Without a `seed` it is the first of the run's, as published; every seed of a run rolls out the
    same utterances.
    """

    utterances: Count = 16
    max_frames: PositiveInt = 2_000
    seed: Count | None = None


class RunConfig(_Section):
    """Everything that decides the numbers of a run, and the protocol that it follows."""

    protocol: str = "phase1"
    encoder: ComponentConfig = ComponentConfig(name="mimi")
    corpus: ComponentConfig = ComponentConfig(name="librispeech")
    factorization: ComponentConfig = ComponentConfig(name="none")
    transforms: tuple[ComponentConfig, ...] = ()
    predictor: ComponentConfig = ComponentConfig(name="mdn")
    baseline: ComponentConfig = ComponentConfig(name="marginal")
    controls: Annotated[tuple[Literal["unconditional", "x_target"], ...], Distinct] = (
        "unconditional",
        "x_target",
    )
    engine: ComponentConfig = ComponentConfig(name="local")
    utterances: UtteranceConfig = UtteranceConfig()
    latents: LatentsConfig = LatentsConfig()
    split: SplitConfig = SplitConfig()
    task: TaskConfig = TaskConfig()
    training: TrainingConfig = TrainingConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    rollout: RolloutConfig = RolloutConfig()
    seeds: Annotated[tuple[Count, ...], Field(min_length=1), Distinct] = (42,)
    device: str = "auto"

    @model_serializer(mode="wrap")
    def _without_none(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what is as it always was: runs older than the setting have the same digest."""
        found: dict[str, Any] = handler(self)
        if self.latents == LatentsConfig():
            found.pop("latents", None)
        if self.factorization.name == "none":
            found.pop("factorization", None)
        return found

    @property
    def rollout_seed(self) -> int:
        """That the utterances of the rollout are drawn by."""
        return self.seeds[0] if self.rollout.seed is None else self.rollout.seed

    def digest(self) -> str:
        """A hex digest of all that decides the numbers."""
        text = json.dumps(
            self.model_dump(mode="json", exclude={"engine", "protocol"}), sort_keys=True
        )
        return hashlib.sha256(text.encode()).hexdigest()

    def to_yaml(self) -> str:
        """The resolved configuration as YAML that `--config` reads back to an equal one."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)


CHANGED = "If you changed it yourself, copy it out of its run folder and give the copy."
DEFAULT_PRESET = "phase1"
BRACKETS = {"[": "]", "{": "}"}
IN_EITHER_UNIT = {
    "context_frames": "context_ms",
    "horizons": "horizons_ms",
    "step_frames": "step_ms",
    "first_frame": "first_ms",
}
COMPONENTS = {
    "encoder": "encoder",
    "corpus": "corpus",
    "factorization": "factorization",
    "predictor": "predictor",
    "baseline": "predictor",
    "engine": "engine",
}
# Settings of every day that have a name of their own, on the command line and in Python.
EVERYDAY = {
    "horizons": "task.horizons",
    "slices": "task.slices",
    "metrics": "evaluation.metrics",
    "steps": "training.steps",
    "precision": "training.precision",
    "limit": "utterances.limit",
}


def preset_names() -> list[str]:
    """The presets that ship with latentbench."""
    folder = resources.files("latentbench") / "presets"
    return sorted(
        entry.name.removesuffix(".yaml")
        for entry in folder.iterdir()
        if entry.name.endswith(".yaml")
    )


def read_layers(
    preset: str | None, config: Path | None, layers: Iterable[str | Mapping[str, Any]] = ()
) -> dict[str, Any]:
    """Merge phase1, another preset, a YAML file and further layers, later ones winning.

    Args:
        preset: its name; None for phase1 alone.
        config: a YAML file.
        layers: mappings of keys, or assignments as `--set` takes them.

    Raises:
        UsageError: an unknown preset, an unreadable file, an assignment without `=`, or one whose
            value is a list or mapping that was mistyped; a section that is none.
    """
    below = [_preset(DEFAULT_PRESET)]
    if preset is not None:
        below.append(_preset(preset))
    if config is not None:
        below.append(_read_file(config))
    above = (nested(*assignment(one)) if isinstance(one, str) else one for one in layers)
    return merged([*below, *above])


def merged(layers: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Layers as one, later ones winning."""
    whole: dict[str, Any] = {}
    for layer in layers:
        _merge(whole, layer)
    return whole


def settings_layer(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What the keywords of `run` and the flags of the command line set, as one layer.

    Args:
        settings: name of `EVERYDAY`, `seed`, section or dotted key -> value.

    Raises:
        UsageError: settings that exclude each other.
    """
    given = dict(settings)
    if (seed := given.pop("seed", None)) is not None:
        if "seeds" in given:
            raise UsageError("Give --seed or --seeds, not both.")
        given["seeds"] = [seed]
    if "slices" in given:
        given["slices"] = list(dict.fromkeys(("all", *given["slices"])))
    return merged(nested(EVERYDAY.get(key, key).split("."), value) for key, value in given.items())


def assignment(text: str) -> tuple[list[str], Any]:
    """The key, part by part, and the value of an assignment: `training.steps=400`.

    Raises:
        UsageError: it is none, or its value is a list or mapping that was mistyped.
    """
    key, equals, value = text.partition("=")
    parts = key.split(".")
    if not equals or not all(parts) or len(parts) > DEEPEST:
        raise UsageError(
            f"--set {text!r} is no assignment.",
            "Write it as key.option=value, e.g. --set predictor.components=4.",
        )
    return parts, _assigned(value, f"the value of --set {key}")


def axes(vary: Mapping[str, Sequence[Any]] | Sequence[str]) -> dict[str, list[Any]]:
    """What varies: key -> its values, each of which makes a run.

    Args:
        vary: key -> values, or texts `KEY=VALUE,VALUE`, or one.

    Raises:
        UsageError: a text names no values, or a key or value is given twice.
    """
    texts = [vary] if isinstance(vary, str) else vary
    pairs = texts.items() if isinstance(texts, Mapping) else map(_axis, texts)
    found: dict[str, list[Any]] = {}
    for key, values in pairs:
        if not isinstance(values, (list, tuple)) or not values or not key or None in values:
            raise UsageError(
                f"--vary {key}: it names no values.",
                "Write it as KEY=VALUE,VALUE, e.g. --vary task.context_ms=80,640, or in YAML "
                "vary: {task.context_ms: [80, 640]}.",
            )
        if key in found or len(set(map(repr, values))) < len(values):
            raise UsageError(f"--vary {key}: a key or a value is given twice.", "Give it once.")
        found[key] = list(values)
    return found


def _axis(text: str) -> tuple[str, Any]:
    key, _, values = text.partition("=")
    return key, _assigned(f"[{values}]", f"the values of --vary {key}")


def nested(parts: Iterable[str], value: Any) -> Any:
    """One value as a layer: `["training", "steps"], 4` is `{"training": {"steps": 4}}`."""
    for part in reversed(list(parts)):
        value = {part: value}
    return value


def resolve(layers: Mapping[str, Any], registry: Registry) -> RunConfig:
    """Validate merged layers and make the options of every component.

    Raises:
        UsageError: an unknown key or component (names the nearest), or a value of a wrong type.
    """
    config = shape(layers)
    resolved = {
        section: _resolved(getattr(config, section), section, registry) for section in COMPONENTS
    }
    transforms = tuple(
        _resolved(_spelt_out(one, registry), "transform", registry) for one in config.transforms
    )
    metrics = tuple(_resolved(one, "metric", registry) for one in config.evaluation.metrics)
    evaluation = config.evaluation.model_copy(update={"metrics": metrics})
    return config.model_copy(update=resolved | {"transforms": transforms, "evaluation": evaluation})


def shape(layers: Mapping[str, Any]) -> RunConfig:
    """Validate merged layers, leaving the options of components as they are.

    Raises:
        UsageError: an unknown key, or a value of a wrong type.
    """
    try:
        config = RunConfig.model_validate(layers)
    except ValidationError as error:
        raise _explained(error, "") from None
    if config.training.select == "best" and not config.split.validation_fraction:
        raise UsageError(
            "training.select=best needs speakers to choose by, and split.validation_fraction is 0.",
            "Add --set split.validation_fraction=0.1, or take training.select=last.",
        )
    return config


def read_component(text: str, what: str) -> ComponentConfig:
    """A component as a flag names it: `NAME`, or `{name: NAME, OPTION: VALUE}`.

    Raises:
        UsageError: it is neither.
    """
    try:
        return ComponentConfig.model_validate(_yaml(text, what))
    except ValidationError:
        raise UsageError(
            f"{what} {text!r} names no component.",
            f"Write {what} NAME, or {what} '{{name: NAME, OPTION: VALUE}}'.",
        ) from None


def make(
    config: ComponentConfig, section: str, registry: Registry, *args: Any, **kwargs: Any
) -> Any:
    """Make a component with its options.

    Args:
        config: which.
        section: of the configuration, or the kind.
        registry: where it is.
        *args: that its factory takes after the options.
        **kwargs: likewise.

    Raises:
        UsageError: there is none of the name, its options cannot be, or it cannot run here.
    """
    component = registry.get(COMPONENTS.get(section, section), config.name)
    return component.create(build_options(config, section, registry), *args, **kwargs)


def density_of(predictor: ComponentConfig, registry: Registry) -> Density:
    """What a predictor gives: exact log-densities, a bound of the NLL, or samples."""
    spec = registry.get("predictor", predictor.name).spec
    options = build_options(predictor, "predictor", registry)
    return spec.density_of(options) if isinstance(spec, PredictorSpec) else "exact"


def build_options(config: ComponentConfig, section: str, registry: Registry) -> Any:
    """The options dataclass of a component, validated.

    Raises:
        UsageError: an unknown option (names the nearest), or a value of a wrong type or size.
    """
    if not isinstance(config.options, Mapping):
        return config.options
    options = registry.get(COMPONENTS.get(section, section), config.name).spec.options
    known = {option.name: option.type for option in option_fields(options)}
    for key in config.options:
        if key not in known:
            raise UsageError(
                f"'{key}' is no option of the {section} '{config.name}'.", nearest(key, known)
            )
    given = {
        key: written(value) if known[key] == "str" else value
        for key, value in config.options.items()
    }
    for key, value in given.items():
        if isinstance(value, str) and as_utf8(value) != value:
            raise UsageError(
                f"'{section}.{key}' cannot be {value!r}: it is no UTF-8, which a result must be.",
                "Where it is a path, name a link to it, or rename it.",
            )
    try:
        # As strict JSON there is no 10 from '010' and no 1 from true, and lists are tuples.
        found: Any = TypeAdapter(options).validate_json(json.dumps(given, default=str), strict=True)
    except ValidationError as error:
        raise _explained(error, f"{section}.") from None
    for key, value in asdict(found).items():
        if isinstance(value, (int, float)) and not _is_moderate(value):
            raise UsageError(f"'{section}.{key}' cannot be {value!r}: it is too large.")
    return found


def dotted(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Every key of a configuration as `--set` takes it -> its value."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            flat.update(dotted(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _is_moderate(number: float) -> bool:
    return abs(number) <= LARGEST if isinstance(number, int) else math.isfinite(number)


@cache
def _preset(name: str) -> dict[str, Any]:
    if name not in preset_names():
        raise UsageError(f"There is no preset called '{name}'.", nearest(name, preset_names()))
    file = resources.files("latentbench") / "presets" / f"{name}.yaml"
    given = _mapping(file.read_text("utf-8"), f"preset '{name}'")
    below = given.pop("extends", None)
    return merged([_preset(below), given]) if below else given


def _resolved(config: ComponentConfig, section: str, registry: Registry) -> ComponentConfig:
    """The component with its options made, and the code of one given from Python named."""
    code = registry.get(COMPONENTS.get(section, section), config.name).code
    if config.inline and config.inline != code:
        raise UsageError(
            f"The {section} '{config.name}' was given from Python as other code than this.",
            "Give the one that was used, or start a run of its own.",
        )
    options = build_options(config, section, registry)
    return config.model_copy(update={"inline": code, "options": options})


def _read_file(config: Path) -> dict[str, Any]:
    try:
        text = config.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"The configuration file '{config}' cannot be read: {error}") from None
    if is_sealed(config) and (reason := damage(config)):
        raise DamagedFileError(config, reason, CHANGED)
    return _mapping(text, f"configuration file '{config}'")


def _spelt_out(config: ComponentConfig, registry: Registry) -> ComponentConfig:
    """A transform with `pca:32` written as name and first option."""
    name, colon, value = config.name.partition(":")
    if not colon:
        return config
    options = fields(registry.get("transform", name).spec.options)
    if not options:
        raise UsageError(f"The transform '{name}' has no options, so ':{value}' says nothing.")
    first = {options[0].name: _yaml(value, f"'{config.name}'")}
    return ComponentConfig.model_validate({"name": name, **first, **config.options})


def _merge(into: dict[str, Any], layer: Mapping[str, Any]) -> None:
    """Merge nested mappings; naming another component drops the options of the former.

    A time in frames takes the place of one in milliseconds from below.
    """
    for in_frames, in_ms in IN_EITHER_UNIT.items():
        if in_frames in layer and in_ms not in layer:
            into.pop(in_ms, None)
    for key, given in layer.items():
        value = {"name": given} if key in COMPONENTS and isinstance(given, str) else given
        old = into.get(key)
        if isinstance(old, dict) and not isinstance(value, dict):
            what = "a name, or a mapping with one" if key in COMPONENTS else "a mapping of options"
            raise UsageError(f"'{key}' cannot be {value!r}: expected {what}.")
        if isinstance(value, dict) and isinstance(old, dict) and not _renames(key, old, value):
            _merge(old, value)
        else:
            into[key] = copy.deepcopy(value)


def _renames(key: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    return key in COMPONENTS and "name" in new and new["name"] != old.get("name")


def _yaml(text: str, what: str) -> Any:
    try:
        return load(text)
    except yaml.YAMLError as error:
        raise UsageError(f"The YAML of {what} cannot be read: {error}") from None


def _assigned(text: str, what: str) -> Any:
    """YAML, or the text itself: `{speaker}_*` and `**/*.wav` are none and need no quotes."""
    try:
        return _yaml(text, what)
    except UsageError:
        if _is_mistyped(text):
            raise
        return text


def _is_mistyped(text: str) -> bool:
    """Whether text that is no YAML was meant to be: an open bracket or quote, `key: value`."""
    if text.lstrip().startswith(("'", '"')) or ": " in text:
        return True
    open_: list[str] = []
    for character in text:
        if character in BRACKETS:
            open_.append(BRACKETS[character])
        elif character in BRACKETS.values() and (not open_ or open_.pop() != character):
            return True
    return bool(open_)


def _mapping(text: str, what: str) -> dict[str, Any]:
    value = _yaml(text, what)
    if not isinstance(value, dict):
        raise UsageError(f"The {what} holds {type(value).__name__}, expected a mapping of options.")
    return value


def _explained(error: ValidationError, prefix: str) -> UsageError:
    """The first problem pydantic found, in the user's words."""
    problem = error.errors()[0]
    where = [str(part) for part in problem["loc"]]
    key = prefix + ".".join(where)
    if problem["type"] == "extra_forbidden":
        section: Any = RunConfig
        for part in where[:-1]:
            section = section.model_fields[part].annotation
        hint = nearest(where[-1], section.model_fields)
        return UsageError(f"'{key}' is no option of a run.", hint)
    if problem["type"] == "missing":
        return UsageError(f"'{key}' must be given.", f"Give it with --set {key}=VALUE.")
    hint = "Write a list as [1, 2]." if problem["type"] == "tuple_type" else ""
    reason = problem["msg"].removeprefix("Value error, ")
    return UsageError(f"'{key}' cannot be {problem.get('input')!r}: {reason}.", hint)
