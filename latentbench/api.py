"""The front door: one function for each thing to do, for Python and for the command line alike.

A setting is an everyday name (`steps`, `horizons`), or a section of the configuration as a mapping
(`training={"batch_size": 64}`). The place of a component takes its name, a mapping with a `name`
and options, or a Python object: a class, a factory or a spec (docs/python.md). Where several may
stand, one alone is a list of one.

A function imports what it needs when it is called: the command line imports this module first.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypedDict

from latentbench.errors import UsageError
from latentbench.files import atomic, require_writable, writing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from typing_extensions import Unpack

    from latentbench.answers import Answer, Comparison, Result
    from latentbench.calibration import Check
    from latentbench.cards.card import Card
    from latentbench.comparisons.combinations import Combination
    from latentbench.config import RunConfig
    from latentbench.experiment import EncodedCorpus
    from latentbench.factoring.record import Factoring
    from latentbench.planning import Plan
    from latentbench.plugins import Component, Registry
    from latentbench.progress import Progress
    from latentbench.reports.reporter import Reporter
    from latentbench.results.listing import RunList
    from latentbench.results.watching import Watched
    from latentbench.sharing.reproduce import Reproduction
    from latentbench.workspace import Workspace

__all__ = [
    "Settings",
    "calibrate",
    "card",
    "compare",
    "components",
    "configure",
    "default_folder",
    "encode",
    "factorize",
    "find_runs",
    "folder_of",
    "leaderboard",
    "make_reporter",
    "plan",
    "plan_comparison",
    "publish",
    "read",
    "report",
    "reproduce",
    "run",
    "runs",
    "watch",
    "workspace",
]

# A name, a mapping of a name and options, a class, a factory or a spec.
Named: TypeAlias = Any
Section: TypeAlias = Mapping[str, Any]
# Key -> the values of which each makes a run, or texts `KEY=VALUE,VALUE`.
Varied: TypeAlias = "Mapping[str, Sequence[Any]] | Sequence[str]"

# What Windows refuses in a file name; other systems refuse less.
REFUSED = re.compile(r'[<>:"/\\|?*\x00-\x1f]+')


class Settings(TypedDict, total=False):
    """What a run is asked for; what is left out is Phase 1's.

    Attributes:
        preset: to start from: `phase1`, `lb1`, `lb1-small`, `quick`, `phase0`, `demo`.
        config: a YAML file of values over the preset's, a mapping, or `Result.config`.
        encoder: what makes the latents.
        corpus: where the audio is from.
        predictor: what predicts the latents.
        baseline: what ΔNLL is against.
        engine: what runs the cells.
        factorization: latents to a predictable state, before the transforms.
        transforms: maps of the latents, applied in turn.
        metrics: what is measured.
        horizons: staleness k, in frames.
        slices: subsets of frames that are scored beside all.
        steps: of training.
        precision: of training, `fp32` or `bf16`.
        limit: use so many utterances, of all speakers in turn.
        seed: of initialisation and sampling.
        seeds: several, each a model of its own.
        device: `auto`, `cpu`, `cuda`, `cuda:1`.
        controls: what is fitted beside the predictor.
        utterances, split, task, training, evaluation, rollout: sections of the configuration.
        set: assignments as on the command line, `"training.steps=400"`; they win.
        latents: latents there are already, in the place of encoder and corpus: id -> [T, D], numpy
            or torch, or a folder of files (the corpus `latents-folder`).
        frame_rate: of `latents`, per second.
        speakers: of `latents`: id -> speaker; of a folder a pattern of paths or a CSV file.
        cache: folder of latents, downloads and made speech.
        trackers: who else is told what the run does, `tensorboard` (docs/watching.md).
        progress: whether, or where, it is shown how long work takes.
        registry: what can be named; by default what is built in or installed.
    """

    preset: str | None
    config: Path | str | Section | RunConfig | None
    encoder: Named
    corpus: Named
    predictor: Named
    baseline: Named
    engine: Named
    factorization: Named
    transforms: Sequence[Named]
    metrics: Sequence[Named]
    horizons: Sequence[int]
    slices: Sequence[str]
    steps: int
    precision: str
    limit: int
    seed: int
    seeds: Sequence[int]
    device: str
    controls: Sequence[str]
    utterances: Section
    split: Section
    task: Section
    training: Section
    evaluation: Section
    rollout: Section
    set: Sequence[str]
    latents: Mapping[str, Any] | Path | str
    frame_rate: float
    speakers: Mapping[str, str] | Path | str
    cache: Path | str | None
    trackers: Sequence[Named]
    progress: Progress | bool
    registry: Registry | None


def run(*, out: Path | str | None = None, **settings: Unpack[Settings]) -> Result:
    """Encode, train and score.

        result = lb.run(encoder="logmel", corpus="speech-demo", predictor=MyPredictor, steps=200)

    A run that was interrupted continues where it was, and one that is finished is read. Horizons
    that failed are those of `result.record.failed`.

    Args:
        out: the run folder; by default `runs/<encoder>-<predictor>-<corpus>-<digest>`.
        **settings: see `Settings`.

    Raises:
        UsageError: the run cannot be made as it is asked for.
        LatentbenchError: the latents cannot be had, or the disk is full.
    """
    asked = _asked(settings)
    config = asked.config
    from latentbench.answers import Result
    from latentbench.experiment import run_experiment

    folder = default_folder(config) if out is None else Path(out)
    run_experiment(config, folder, asked.workspace, asked.registry)
    return Result(folder, asked.registry, asked.workspace)


def plan(**settings: Unpack[Settings]) -> Answer[Plan]:
    """Check a run, count its frames and estimate its cost; nothing is encoded or trained.

    Args:
        **settings: see `Settings`.

    Raises:
        UsageError: the run cannot be made as it is asked for.
    """
    asked = _asked(settings)
    return _planned(asked.config, asked)


def encode(**settings: Unpack[Settings]) -> EncodedCorpus:
    """Fill the latent store only; a run of the same encoder and corpus then encodes nothing.

        latents = lb.encode(encoder="logmel", corpus="speech-demo").arrays()

    Args:
        **settings: see `Settings`.

    Raises:
        UsageError: the run cannot be made as it is asked for.
        LatentbenchError: the store cannot be written.
    """
    asked = _asked(settings)
    config = asked.config
    from latentbench.experiment import encode_corpus

    return encode_corpus(config, asked.workspace, asked.registry)


def card(
    encoder: Named = None, /, *, out: Path | str | None = None, **settings: Unpack[Settings]
) -> Answer[Card]:
    """Describe the latents of an encoder: levels, directions, memory, and how it takes audio.

        lb.card("logmel").record.statistics.std
        lb.card(latents=arrays, frame_rate=12.5, speakers=speakers)

    Args:
        encoder: a name, a mapping with options, or a Python object; may stand in the settings.
        out: a file that is written too: `.html`, one page, or `.json`; as `card.json` in a run
            folder it is part of the run's report and is published with it.
        **settings: see `Settings`; encoder, corpus, utterances, split and limit count. Without a
            corpus it is `speech-demo`.

    Raises:
        UsageError: no encoder is named, encoder or corpus cannot be used as they are asked for,
            or `out` cannot be written.
        LatentbenchError: the latents cannot be had.
    """
    named = {"encoder": encoder} if encoder is not None else {}
    given = {"encoder", "latents", "config", "preset"} & {*named, *settings}
    if not given:
        raise UsageError("A card needs an encoder.", 'Name one: lb.card("logmel").')
    speech = {} if {"latents", "config", "preset"} & given else {"corpus": "speech-demo"}
    if out is not None and Path(out).suffix not in (".html", ".json"):
        raise UsageError(f"--out {out}: a card is written as .html or .json.")
    if out is not None:
        require_writable(Path(out))
    asked = _asked({**speech, **named, **settings})
    config = asked.config
    from latentbench.answers import Answer
    from latentbench.cards.make import make_card
    from latentbench.reports.card import card_report

    found = make_card(config, asked.workspace, asked.registry)
    if out is not None:
        from latentbench.pictures.card import card_page

        _write(Path(out), card_page(found) if Path(out).suffix == ".html" else found.to_json())
    return Answer(found, card_report)


def read(
    folder: Path | str,
    *,
    cache: Path | str | None = None,
    progress: Progress | bool = True,
    registry: Registry | None = None,
) -> Result:
    """The result of a finished run.

    Args:
        folder: of the run.
        cache: that holds its latents, for `rollout` and `explain`.
        progress: as of `run`.
        registry: as of `run`; a run of a component from Python needs that one again.

    Raises:
        UsageError: the folder holds no finished run.
        DamagedFileError: its result is not what was written.
    """
    from latentbench.answers import Result

    return Result(Path(folder), _registry(registry), workspace(cache, progress))


def compare(
    runs: Sequence[Path | str | Result] | None = None,
    *,
    encoders: Sequence[Named] | Mapping[str, Named] = (),
    predictors: Sequence[Named] | Mapping[str, Named] = (),
    corpora: Sequence[Named] | Mapping[str, Named] = (),
    factorizations: Sequence[Named] | Mapping[str, Named] = (),
    vary: Varied = (),
    match: Literal["ms", "frames"] = "ms",
    strict: bool = False,
    out: Path | str | None = None,
    **settings: Unpack[Settings],
) -> Comparison:
    """Put finished runs side by side, or make the runs of every combination first.

        lb.compare(["runs/x", "runs/y"])
        lb.compare(encoders={"fine": {"name": "logmel", "hop_ms": 20}, "coarse": "logmel"})

    Args:
        runs: folders, or results.
        encoders: to compare; as a mapping, by labels.
        predictors: likewise.
        corpora: likewise.
        factorizations: likewise.
        vary: key of the configuration -> the values of which each makes a run, as
            `{"task.context_ms": [80, 640]}`.
        match: pair horizons by time, or by `frames` as the original did.
        strict: refuse runs that used different utterances.
        out: where the run folders are made; by default `runs/compare-<digest>`.
        **settings: see `Settings`; of runs to make.

    Raises:
        UsageError: a run cannot be read or made, or `runs` are none.
    """
    from latentbench.answers import Comparison, Result
    from latentbench.comparisons import compare_runs

    if runs is not None:
        from latentbench.results.finished import read_runs

        registry, runs = _registry(settings.get("registry")), _several(runs)
        folders = _folders(runs)
        given = [part for one in runs if isinstance(one, Result) for part in one.registry.inline]
        registry = registry.beside(_once(given, registry))
        return Comparison(compare_runs(read_runs(folders), match, strict=strict, registry=registry))
    from latentbench.comparisons.combinations import run_combinations

    axes = {
        "encoder": encoders,
        "predictor": predictors,
        "corpus": corpora,
        "factorization": factorizations,
    }
    asked, combinations = _combined(settings, axes, match, vary)
    folder = folder_of([one.config for one in combinations]) if out is None else Path(out)
    finished, failures = run_combinations(combinations, folder, asked.workspace, asked.registry)
    found = compare_runs(finished, match, failures, strict=strict, registry=asked.registry)
    return Comparison(found)


def report(
    runs: Sequence[Path | str | Result],
    out: Path | str = "report.html",
    *,
    explain: bool = False,
    rollout: bool = False,
    cache: Path | str | None = None,
    progress: Progress | bool = True,
    registry: Registry | None = None,
) -> Path:
    """Write finished runs as one HTML page, as `latentbench report` does.

        lb.report(["runs/x", "runs/y"], "report.html")

    Args:
        runs: folders, or results; several are compared.
        out: the file that is written.
        explain: measure how unusual the contexts are; the latents must be in the cache.
        rollout: roll the models out by samples, to say until when they live; likewise.
        cache: as of `run`, for both.
        progress: likewise.
        registry: as of `run`.

    Raises:
        UsageError: there is no run, or one cannot be read, its latents are not in the cache, the
            file cannot be written, or Altair or vl-convert is missing.
    """
    require_writable(Path(out))
    from latentbench.pictures.report import report_of

    folders = _folders(runs)
    asked: Any = {"cache": cache, "progress": progress, "registry": registry}

    def answer(folder: Path, question: Callable[[Result], Answer[Any]]) -> Any:
        try:
            return question(read(folder, **asked)).record
        except UsageError as error:
            raise UsageError(f"'{folder}': {error.message}", error.hint) from None

    found = [answer(one, lambda run: run.explain(split="eval")) for one in folders if explain]
    rolled = [answer(one, lambda run: run.rollout(mode="sample")) for one in folders if rollout]
    return _write(Path(out), report_of(folders, registry, found, rolled))


def _write(out: Path, text: str) -> Path:
    with writing(out), atomic(out) as partial:
        partial.write_text(text, "utf-8", newline="\n")
    return out


def factorize(
    *,
    vary: Varied = (),
    out: Path | str | None = None,
    **settings: Unpack[Settings],
) -> Answer[Factoring]:
    """Put predictable states beside the latents, principal components and random directions.

        lb.factorize(encoder="logmel", corpus="speech-demo", vary=["factorization.dim=4,8"])

    Args:
        vary: values of options of the factorisation, `"factorization.dim=4,8"`; several make a
            grid.
        out: where the run folders are made; by default `runs/factorize-<digest>`.
        **settings: see `Settings`; by default the preset is `lb1`, the factorisation `linear`.

    Raises:
        UsageError: a run cannot be made as it is asked for.
        LatentbenchError: a run failed.
    """
    from latentbench.answers import Answer
    from latentbench.factoring.factorize import factorize as factorized
    from latentbench.reports.factoring import factoring_report

    asked, points = _grid(settings, vary)
    configs = [asked.factored(one) for one in points]
    folder = _folder("factorize", configs) if out is None else Path(out)
    found = factorized(points, asked.factored, folder, asked.workspace, asked.registry)
    return Answer(found, factoring_report)


def plan_factorization(
    *, vary: Varied = (), **settings: Unpack[Settings]
) -> dict[str, Answer[Plan]]:
    """The plan of every run that `factorize` is known to make, by its label; arguments as there.

    One control more of each point is as large as the others turn out to need.
    """
    from latentbench.checks import bound
    from latentbench.factoring.factorize import foreseen

    asked, points = _grid(settings, vary)
    _, encoder = bound(asked.config, asked.workspace, asked.registry)
    planned: set[str] = set()
    return {
        label: _planned(asked.factored(one), asked, planned)
        for label, one in foreseen(points, asked.factored, encoder.dim).items()
    }


def plan_comparison(
    *,
    encoders: Sequence[Named] | Mapping[str, Named] = (),
    predictors: Sequence[Named] | Mapping[str, Named] = (),
    corpora: Sequence[Named] | Mapping[str, Named] = (),
    factorizations: Sequence[Named] | Mapping[str, Named] = (),
    vary: Varied = (),
    match: Literal["ms", "frames"] = "ms",
    **settings: Unpack[Settings],
) -> dict[str, Answer[Plan]]:
    """The plan of every run that `compare` would make, by its label; arguments as there.

    A network that several runs need is counted with the first.
    """
    axes = {
        "encoder": encoders,
        "predictor": predictors,
        "corpus": corpora,
        "factorization": factorizations,
    }
    asked, combinations = _combined(settings, axes, match, vary)
    planned: set[str] = set()
    return {one.label: _planned(one.config, asked, planned) for one in combinations}


def components(kind: str | None = None, *, registry: Registry | None = None) -> list[Component]:
    """What can be named.

        [one.name for one in lb.components("encoder")]

    Args:
        kind: `encoder`, `corpus`, `factorization`, `transform`, `predictor`, `metric`, `engine`,
            `reporter` or `tracker`; None for all.
        registry: as of `run`.
    """
    from latentbench.specs import KINDS

    known = _registry(registry)
    return [one for each in KINDS if kind in (None, each) for one in known.of_kind(each)]


def calibrate(
    *, quick: bool = False, progress: Progress | bool = True, registry: Registry | None = None
) -> list[Check]:
    """Check the instrument against worlds whose truth is known.

    Args:
        quick: about a minute, with wider intervals.
        progress: as of `run`.
        registry: as of `run`.

    Raises:
        LatentbenchError: a run failed.
    """
    from latentbench.calibration import calibrate as calibrated

    return calibrated(_registry(registry), _progress(progress), quick=quick)


def configure(**settings: Unpack[Settings]) -> RunConfig:
    """The resolved configuration of a run.

    Args:
        **settings: see `Settings`.

    Raises:
        UsageError: an unknown name or key, or a value of a wrong type.
    """
    return _asked(settings).config


def find_runs(folder: Path) -> tuple[list[Path], list[Path]]:
    """The runs in a folder of runs, finished and not; the folder alone where there is none."""
    from latentbench.results.folder import RunFolder, runs_in

    runs = runs_in(folder)
    finished = [run for run in runs if RunFolder(run).result_file.exists()]
    return finished or [folder], [run for run in runs if finished and run not in finished]


def runs(folder: Path | str = "runs") -> Answer[RunList]:
    """List the runs in a folder: how far each is, its headline and its size.

        [one.run for one in lb.runs("runs").record.runs if one.status == "finished"]

    Args:
        folder: looked into, and up to two folders below it.

    Raises:
        UsageError: there is no such folder.
    """
    from latentbench.answers import Answer
    from latentbench.reports.listing import listing_report
    from latentbench.results.listing import list_runs

    return Answer(list_runs(Path(folder)), listing_report)


def reproduce(
    result: Path | str,
    *,
    out: Path | str | None = None,
    set: Sequence[str] = (),  # noqa: A002 - as of `run`
    cache: Path | str | None = None,
    progress: Progress | bool = True,
    registry: Registry | None = None,
) -> Answer[Reproduction]:
    """Run a result again, and say what drifted.

    Args:
        result: a `result.json`, or the folder that holds it.
        out: the run folder; by default `runs/reproduce-<digest>`.
        set: changes, `"corpus.root=/data/LibriSpeech"`.
        cache: as of `run`.
        progress: as of `run`.
        registry: as of `run`.

    Raises:
        UsageError: the file is no result, or cannot be run here.
        LatentbenchError: the latents cannot be had.
    """
    from latentbench.answers import Answer
    from latentbench.reports.reproduction import reproduction_report
    from latentbench.sharing.reproduce import compared
    from latentbench.sharing.submissions import read_submission

    file = Path(result)
    file = file / "result.json" if file.is_dir() else file
    try:
        was = read_submission(file, str(file)).result
    except (OSError, ValueError) as error:
        raise UsageError(f"'{file}' cannot be run again: {error}.") from None
    # Where the work was done is of that machine.
    given = {name: value for name, value in was.config.items() if name not in ("engine", "device")}
    asked: Settings = {"config": given, "set": set, "cache": cache, "progress": progress}
    asked["registry"] = registry
    folder = _folder("reproduce", [configure(**asked)]) if out is None else Path(out)
    now = run(out=folder, **asked)
    found = compared(was, now.record, result=str(file), folder=str(folder))
    return Answer(found, reproduction_report)


def publish(run: Path | str | Result, to: Path | str) -> str:
    """Put the result, figures and configuration of a run where others find them.

    Args:
        run: its folder, or a result.
        to: a folder, or `hf://datasets/OWNER/NAME`.

    Returns:
        Where they are.

    Raises:
        UsageError: the run is not finished, or the folder cannot be written.
        LatentbenchError: the hub refused it.
    """
    from latentbench.answers import Result
    from latentbench.sharing.publish import publish as published

    return published(run.folder if isinstance(run, Result) else Path(run), to)


def leaderboard(sources: Sequence[Path | str], out: Path | str = "site") -> Path:
    """Write a leaderboard as a folder of pages, as `latentbench leaderboard build` does.

    Args:
        sources: folders of runs or of published results, or `hf://datasets/OWNER/NAME`.
        out: the folder of the site; a leaderboard in it is replaced.

    Returns:
        Its first page.

    Raises:
        UsageError: there is no result, or `out` cannot be used.
        LatentbenchError: a data set cannot be had.
    """
    from latentbench.sharing.hub import fetched
    from latentbench.sharing.site import build_site

    if not (named := _several(sources)):
        raise UsageError("No source is given.", "Name folders of runs or of published results.")
    with fetched(named) as folders:
        return build_site(folders, Path(out))


def watch(
    run: Path | str,
    told: Callable[[dict[str, Any]], object] = lambda _: None,
    *,
    progress: Progress | bool = True,
) -> Watched:
    """Show a run that goes on in another process, until it ends; `ended` says how.

    Args:
        run: its folder, or a folder of runs, of which the one that wrote last is shown.
        told: is given every event of its journal (docs/watching.md).
        progress: as of `run`.

    Raises:
        UsageError: there is no run to watch.
    """
    from latentbench.results.watching import watch as watched

    return watched(Path(run), _progress(progress), told)


def make_reporter(named: str, registry: Registry) -> Reporter:
    """The reporter `NAME` or `{name: NAME, KEY: VALUE}`.

    Raises:
        UsageError: there is no such reporter or option; names the nearest.
    """
    from latentbench.config import make, read_component

    made: Reporter = make(read_component(named, "--reporter"), "reporter", registry)
    return made


def workspace(cache: Path | str | None = None, progress: Progress | bool = True) -> Workspace:  # noqa: FBT001, FBT002 - as of `run`
    """The cache folder, by default the user's, and where progress is shown."""
    from latentbench.workspace import Workspace, default_cache

    return Workspace(Path(cache) if cache else default_cache(), _progress(progress))


def default_folder(config: RunConfig) -> Path:
    """A folder that every configuration has of its own, named so that any file system takes it."""
    names = (config.encoder.name, config.predictor.name, config.corpus.name, config.digest()[:8])
    return Path("runs", REFUSED.sub("-", "-".join(names)))


def folder_of(configs: Sequence[RunConfig]) -> Path:
    """A folder that every set of configurations has of its own."""
    return _folder("compare", configs)


def _folder(verb: str, configs: Sequence[RunConfig]) -> Path:
    digests = "\n".join(config.digest() for config in configs)
    return Path("runs", f"{verb}-{sha256(digests.encode()).hexdigest()[:8]}")


@dataclass(frozen=True)
class _Asked:
    """What `Settings` say, with names for components and a registry that knows them."""

    preset: str | None
    file: Path | None
    settings: Mapping[str, Any]
    assignments: Sequence[str]
    registry: Registry
    workspace: Workspace

    def factored(self, factorization: Mapping[str, Any]) -> RunConfig:
        """The configuration with another factorisation."""
        from latentbench.config import merged, resolve

        given = self.config.model_dump()
        given.pop("factorization", None)
        return resolve(merged([given, {"factorization": factorization}]), self.registry)

    @property
    def config(self) -> RunConfig:
        from latentbench.config import read_layers, resolve

        layers: list[str | Mapping[str, Any]] = [self.settings, *self.assignments]
        return resolve(read_layers(self.preset, self.file, layers), self.registry)


def _asked(settings: Mapping[str, Any]) -> _Asked:
    from latentbench.config import merged, settings_layer
    from latentbench.inline import adopt

    given = dict(settings)
    given |= {name: _several(given[name]) for name in _LISTS if given.get(name) is not None}
    preset, config, assignments = (given.pop(name, None) for name in ("preset", "config", "set"))
    registry = _registry(given.pop("registry", None))
    place = workspace(given.pop("cache", None), given.pop("progress", True))
    place = replace(place, trackers=_trackers(given.pop("trackers", ()), registry))
    if "latents" in given:
        given = _of_latents(given)
    layer, registry = adopt(settings_layer(given), registry)
    file = Path(config) if isinstance(config, (str, Path)) else None
    if config is not None and file is None:
        base = config if isinstance(config, Mapping) else config.model_dump()
        layer = merged([base, layer])
    return _Asked(preset, file, layer, assignments or (), registry, place)


def _several(given: Any) -> list[Any]:
    """A list, of one where one alone is given."""
    alone = isinstance(given, (str, Mapping)) or not isinstance(given, Iterable)
    return [given] if alone else list(given)


def _folders(runs: Sequence[Path | str | Result]) -> list[Path]:
    """Of runs that are named by folder or result.

    Raises:
        UsageError: there is none.
    """
    folders = [Path(getattr(one, "folder", one)) for one in _several(runs)]
    if not folders:
        raise UsageError("No run is given.", "Name the folders of finished runs, or results.")
    return folders


def _trackers(named: Sequence[Named], registry: Registry) -> tuple[Any, ...]:
    from latentbench.config import ComponentConfig, make, read_component

    configs = (
        read_component(one, "--track") if isinstance(one, str) else ComponentConfig(**one)
        for one in named
    )
    return tuple(make(one, "tracker", registry) for one in configs)


def _of_latents(given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings with `latents`, `frame_rate` and `speakers` as a corpus.

    Raises:
        UsageError: one is missing, or does not go with them.
    """
    if named := [name for name in ("encoder", "corpus") if name in given]:
        raise UsageError(f"`latents` take the place of `{named[0]}`.", "Give one of them.")
    if "frame_rate" not in given:
        raise UsageError(
            "`latents` need a `frame_rate`: how many frames a second has.",
            "It cannot be told from the numbers; give e.g. frame_rate=12.5.",
        )
    rest = {name: given[name] for name in given if name not in _OF_LATENTS}
    latents, rate, speakers = (given.get(name) for name in _OF_LATENTS)
    if not isinstance(latents, Mapping):
        corpus = {"name": "latents-folder", "root": str(latents), "frame_rate": rate}
        if speakers is not None:
            key = "speaker_pattern" if "{speaker}" in str(speakers) else "speakers_csv"
            corpus[key] = str(speakers)
        return {**rest, "encoder": "latents", "corpus": corpus}
    from latentbench.corpora.latent_arrays import LatentArrays
    from latentbench.inline import held_corpus

    held = LatentArrays(latents, speakers or {}, frame_rate=rate)  # type: ignore[arg-type] # checked there
    return {**rest, "encoder": "latents", "corpus": held_corpus(held)}


# Settings that are lists.
_LISTS = ("transforms", "metrics", "horizons", "slices", "seeds", "controls", "set", "trackers")
_OF_LATENTS = ("latents", "frame_rate", "speakers")


def _combined(
    settings: Mapping[str, Any],
    given: Mapping[str, Sequence[Named] | Mapping[str, Named]],
    match: Literal["ms", "frames"],
    vary: Varied,
) -> tuple[_Asked, list[Combination]]:
    """What is asked for, and every run of it."""
    from latentbench.comparisons.combinations import Request, combine
    from latentbench.inline import adopt

    asked = _asked(settings)
    registry = asked.registry
    chosen: dict[str, list[Any]] = {}
    for section, several in given.items():
        chosen[section] = []
        labelled = several if isinstance(several, Mapping) else dict(enumerate(_several(several)))
        for label, one in labelled.items():
            layer, registry = adopt({section: one}, registry)
            named = layer[section]
            if labelled is several:
                named = {**(named if isinstance(named, dict) else {"name": named}), "label": label}
            chosen[section].append(named)
    request = Request(
        chosen, match, asked.settings, asked.assignments, asked.preset, asked.file, vary
    )
    return replace(asked, registry=registry), combine(request, registry)


def _grid(settings: Settings, vary: Varied) -> tuple[_Asked, list[dict[str, Any]]]:
    """What `factorize` is asked, and the points of its grid."""
    from latentbench.factoring.grid import points_of

    settings["preset"] = settings.get("preset") or "lb1"
    asked = _asked({"factorization": "linear", **settings})
    return asked, points_of(asked.config, vary, asked.registry)


def _planned(config: RunConfig, asked: _Asked, planned: set[str] | None = None) -> Answer[Plan]:
    from latentbench.answers import Answer
    from latentbench.planning import plan_experiment
    from latentbench.reports.plan import plan_report

    found = plan_experiment(config, asked.workspace, asked.registry, planned)
    return Answer(found, plan_report)


def _once(given: Sequence[Component], registry: Registry) -> list[Component]:
    """Components from Python that the registry does not know, each once."""
    found: list[Component] = []
    for one in given:
        if one not in found and one not in registry.components:
            found.append(one)
    return found


def _registry(given: Registry | None) -> Registry:
    from latentbench.plugins import load_registry

    return load_registry() if given is None else given


def _progress(given: Progress | bool) -> Progress:  # noqa: FBT001 - as of `run`
    if not isinstance(given, bool):
        return given
    from latentbench.display import default_progress
    from latentbench.progress import SilentProgress

    return default_progress() if given else SilentProgress()
