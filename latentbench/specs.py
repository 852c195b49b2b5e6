"""Torch-free descriptions of components: what a plugin hands to the core.

A spec says what a component is called, what it is for, which options it takes and where its
code lives. `factory` is a string, `"package.module:Class"`, and is imported on use, so listing
plugins loads neither torch nor a codec. A plugin module imports this module and nothing heavy.

Options are a frozen dataclass. Each field carries its help as a string in `Annotated`, and may
carry constraints of `annotated_types`:

    @dataclass(frozen=True)
    class MyOptions:
        hop_ms: Annotated[float, Gt(0), "time between frames, in milliseconds"] = 80.0

An option of a predictor that is looked at only once it is fitted, such as a temperature, carries
`AFTER_FIT` too: models that differ in nothing else are fitted once.
"""

from __future__ import annotations

from dataclasses import MISSING, Field, dataclass, field, fields
from types import GenericAlias
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args, get_type_hints

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = [
    "AFTER_FIT",
    "KINDS",
    "ComponentSpec",
    "CorpusSpec",
    "Density",
    "DensityBy",
    "EncoderSpec",
    "EngineSpec",
    "FactorizationSpec",
    "MetricSpec",
    "NoOptions",
    "OptionField",
    "PredictorSpec",
    "ReporterSpec",
    "TrackerSpec",
    "TransformSpec",
    "after_fit",
    "option_fields",
]

Density = Literal["exact", "bound", "samples"]


class _AfterFit:
    """Marks an option that changes nothing of what `fit` learns."""


AFTER_FIT = _AfterFit()


@dataclass(frozen=True)
class DensityBy:
    """What a predictor gives where one of its options decides it.

    Attributes:
        option: the name of that option.
        values: what each of its values gives.
    """

    option: str
    values: Mapping[str, Density]

    def __str__(self) -> str:
        kinds = dict.fromkeys(self.values.values())
        named = {kind: [one for one, its in self.values.items() if its == kind] for kind in kinds}
        return "; ".join(f"{kind} ({self.option} {', '.join(of)})" for kind, of in named.items())


@dataclass(frozen=True)
class NoOptions:
    """The options of a component that has none."""


@dataclass(frozen=True, kw_only=True)
class ComponentSpec:
    """What every component says about itself.

    Each kind below names the hook that yields it and how its factory is called.

    Attributes:
        name: what a user types, e.g. `mimi`; unique within its kind.
        summary: one line of what it is.
        factory: `"package.module:Class"`, called as its kind's contract says; the class itself
            only where it is given from Python.
        options: a frozen dataclass of its options.
        requires: PEP 508 requirements it needs to run here beyond its distribution's own.
    """

    kind: ClassVar[str]
    hook: ClassVar[str]

    name: str
    summary: str
    factory: str | Callable[..., Any]
    options: type = NoOptions
    requires: tuple[str, ...] = ()

    def declare(self, made: Any, options: Any) -> None:
        """Tell what the factory made from `options` what its spec declares of it; here nothing."""


@dataclass(frozen=True, kw_only=True)
class CorpusSpec(ComponentSpec):
    """A source of utterances; `factory(options, workspace) -> latentbench.corpora.Corpus`."""

    kind: ClassVar[str] = "corpus"
    hook: ClassVar[str] = "latentbench_corpora"

    licence: str = ""


@dataclass(frozen=True, kw_only=True)
class EncoderSpec(ComponentSpec):
    """Audio to latents; `factory(options, workspace) -> latentbench.encoders.Encoder`.

    Attributes:
        weights_licence: the licence of the pretrained weights, `none` where there are none.
        decodes: whether it leads back to sound too, by `Encoder.decode`.
    """

    kind: ClassVar[str] = "encoder"
    hook: ClassVar[str] = "latentbench_encoders"

    weights_licence: str = "none"
    decodes: bool = False


class TransformSpec(ComponentSpec):
    """A map of latents fitted on train; `factory(options) -> latentbench.latents.Transform`."""

    kind: ClassVar[str] = "transform"
    hook: ClassVar[str] = "latentbench_transforms"


class FactorizationSpec(ComponentSpec):
    """Latents to a predictable state, fitted on train.

    `factory(options) -> latentbench.factorizations.Factorization`.
    """

    kind: ClassVar[str] = "factorization"
    hook: ClassVar[str] = "latentbench_factorizations"


@dataclass(frozen=True, kw_only=True)
class PredictorSpec(ComponentSpec):
    """A conditional density.

    `factory(options, context_frames=W, dim=D) -> latentbench.predictors.Predictor`.

    Attributes:
        density: what its distributions give: `exact` log-densities, an upper `bound` of the NLL,
            or `samples` and no density; or which of its options decides that.
        controls: name -> options that make a control of it. A comparison of the predictor with
            none of these options set another way runs all of them beside it.
    """

    kind: ClassVar[str] = "predictor"
    hook: ClassVar[str] = "latentbench_predictors"

    density: Density | DensityBy = "exact"
    controls: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        by = self.density
        given = set(by.values.values()) if isinstance(by, DensityBy) else {by}
        if wrong := given - set(get_args(Density)):
            raise ValueError(
                f"predictor '{self.name}' gives a density {wrong.pop()!r}, "
                f"not one of {', '.join(get_args(Density))}"
            )

    def density_of(self, options: Any) -> Density:
        """What the predictor made from these options gives."""
        if isinstance(self.density, DensityBy):
            return self.density.values[getattr(options, self.density.option)]
        return self.density

    def declare(self, made: Any, options: Any) -> None:
        """Set `density` of a predictor."""
        if hasattr(made, "density"):
            made.density = self.density_of(options)


class MetricSpec(ComponentSpec):
    """A score with a unit; `factory(options) -> latentbench.metrics.Metric`."""

    kind: ClassVar[str] = "metric"
    hook: ClassVar[str] = "latentbench_metrics"

    def declare(self, made: Any, options: Any) -> None:
        """Keep the options with the metric: of two runs they must be the same."""
        made.options = options


class EngineSpec(ComponentSpec):
    """What runs cells; `factory(options) -> latentbench.engines.Engine`."""

    kind: ClassVar[str] = "engine"
    hook: ClassVar[str] = "latentbench_engines"


class ReporterSpec(ComponentSpec):
    """What shows a result; `factory(options) -> latentbench.reports.Reporter`."""

    kind: ClassVar[str] = "reporter"
    hook: ClassVar[str] = "latentbench_reporters"


class TrackerSpec(ComponentSpec):
    """What a run is followed by; `factory(options) -> latentbench.trackers.Tracker`."""

    kind: ClassVar[str] = "tracker"
    hook: ClassVar[str] = "latentbench_trackers"


KINDS: dict[str, type[ComponentSpec]] = {
    spec.kind: spec
    for spec in (
        CorpusSpec,
        EncoderSpec,
        FactorizationSpec,
        TransformSpec,
        PredictorSpec,
        MetricSpec,
        EngineSpec,
        ReporterSpec,
        TrackerSpec,
    )
}


@dataclass(frozen=True)
class OptionField:
    """One option as a user sees it; its default is None where it is required."""

    name: str
    type: str
    default: Any
    required: bool
    help: str


def option_fields(options: type) -> list[OptionField]:
    """The fields of an options dataclass, in order, with the help found in `Annotated`."""
    hints = get_type_hints(options, include_extras=True)
    return [_described(field, hints[field.name]) for field in fields(options)]


def after_fit(options: type) -> set[str]:
    """The names of those fields of an options dataclass that are marked by `AFTER_FIT`."""
    hints = get_type_hints(options, include_extras=True)
    marked = {
        name for name, hint in hints.items() if AFTER_FIT in getattr(hint, "__metadata__", ())
    }
    return marked & {field.name for field in fields(options)}


def _described(field: Field[Any], hint: Any) -> OptionField:
    metadata = getattr(hint, "__metadata__", ())
    made = field.default_factory
    default = field.default if made is MISSING else made()
    return OptionField(
        name=field.name,
        type=_type_name(hint.__origin__ if metadata else hint),
        default=None if default is MISSING else default,
        required=default is MISSING,
        help=next((text for text in metadata if isinstance(text, str)), ""),
    )


def _type_name(hint: Any) -> str:
    # On Python 3.10 `tuple[int, ...]` is an instance of type too.
    plain = isinstance(hint, type) and not isinstance(hint, GenericAlias)
    return hint.__name__ if plain else str(hint).replace("typing.", "")
