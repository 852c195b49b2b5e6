"""What the functions of the front door give: records, and the tables that are made of them.

What a method needs is imported when it is called: a wrong folder is told without torch.
"""

from __future__ import annotations

import io
import json
from dataclasses import asdict
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    import pyarrow as pa
    from matplotlib.figure import Figure as MatplotlibFigure
    from pyarrow.dataset import Dataset

    from latentbench.comparisons import Comparison as ComparisonRecord
    from latentbench.config import RunConfig
    from latentbench.explain.explanation import Explanation
    from latentbench.listening.record import Listening
    from latentbench.opened import OpenedRun
    from latentbench.plugins import Registry
    from latentbench.reports.tables import Line, Page, Table
    from latentbench.results.figures import Figures
    from latentbench.results.schema import Result as RunRecord
    from latentbench.rollout.curves import RolloutCurves
    from latentbench.rollout.engine import Mode
    from latentbench.rollout.injection import InjectedRollouts
    from latentbench.verification.verify import Verification
    from latentbench.workspace import Workspace

__all__ = ["Answer", "Comparison", "Result"]

WIDTH = 120  # columns of the tables in a notebook
HTML = '<pre style="line-height: 1.2; white-space: pre">{code}</pre>'

R = TypeVar("R")


class Answer(Generic[R]):
    """A record and how it is shown: `print` writes its tables, and so does a notebook.

    Attributes:
        record: everything that was found, as `--json` prints it.
    """

    def __init__(self, record: R, report: Callable[[R], Iterable[Table | Line]]) -> None:
        self.record = record
        self._report = report

    def parts(self) -> Iterable[Table | Line]:
        """The tables and lines that are shown."""
        return self._report(self.record)

    def to_json(self) -> str:
        """The record as JSON."""
        record: Any = self.record
        if hasattr(record, "to_json"):
            return str(record.to_json())
        if hasattr(record, "to_pylist"):
            return json.dumps(record.to_pylist(), indent=2)
        return json.dumps(asdict(record), indent=2)

    def __str__(self) -> str:
        return self._drawn(html=False)

    def _repr_html_(self) -> str:
        return self._drawn(html=True)

    def _drawn(self, *, html: bool) -> str:
        from latentbench.display import HarmlessConsole
        from latentbench.reports.tables import show

        console = HarmlessConsole(
            record=html, file=io.StringIO(), width=WIDTH, force_terminal=False, force_jupyter=False
        )
        show(self.parts(), console)
        if html:
            return console.export_html(inline_styles=True, code_format=HTML)
        return console.file.getvalue()  # type: ignore[attr-defined,no-any-return] # the StringIO


class _Tabled(Answer[R]):
    """An answer that is written to papers as well."""

    def page(self) -> Page:
        """What a paper shows: title, tables and notes."""
        raise NotImplementedError

    def to_markdown(self, columns: Sequence[str] = ()) -> str:
        """Tables in Markdown.

        Args:
            columns: only these, in this order.

        Raises:
            UsageError: there is no such column.
        """
        from latentbench.reports.tables import to_markdown

        return to_markdown(self._page_of(columns))

    def to_latex(self, columns: Sequence[str] = (), caption: str = "", label: str = "") -> str:
        r"""Tables in LaTeX, by booktabs.

        Args:
            columns: only these, in this order.
            caption: in LaTeX.
            label: for \ref.

        Raises:
            UsageError: there is no such column.
        """
        from latentbench.reports.tables import to_latex

        return to_latex(self._page_of(columns), caption, label)

    def _page_of(self, columns: Sequence[str]) -> Page:
        return self.page().select(columns) if columns else self.page()


class Result(_Tabled[Any]):
    """A finished run, as its folder holds it.

    Args:
        folder: of the run.
        registry: where its components are looked up.
        workspace: with the cache that holds its latents.

    Attributes:
        folder: of the run.
        record: the whole of `result.json`.

    Raises:
        UsageError: the folder holds no finished run.
        DamagedFileError: its result is not what was written.
    """

    record: RunRecord

    def __init__(self, folder: Path, registry: Registry, workspace: Workspace) -> None:
        from latentbench.reports.run import run_report
        from latentbench.results.folder import read_result

        super().__init__(read_result(folder), run_report)
        self.folder = folder
        self.registry = registry
        self._workspace = workspace

    def __repr__(self) -> str:
        found = self.record
        what = f"{found.config['predictor']['name']} on {found.encoder.name}, {found.corpus.name}"
        horizons = ", ".join(f"k = {one.k}" for one in found.horizons)
        failed = f", {len(found.failed)} failed" if found.failed else ""
        return f"<Result {self.folder}: {what}, {horizons}{failed}>"

    @cached_property
    def figures(self) -> Figures:
        """Every number of the run as one tidy table."""
        from latentbench.results.figures import Figures

        return Figures.of(self.record, self.folder.name)

    @cached_property
    def frames(self) -> Dataset:
        """The scores of every frame: a dataset of pyarrow, of which nothing is read yet.

            result.frames.to_table(columns=["utterance", "frame", "nll"]).to_pandas()

        Raises:
            UsageError: no horizon of the run scored any frame, as where all failed.
            DamagedFileError: the file is gone or is not what was written.
        """
        import pyarrow.dataset

        from latentbench.errors import UsageError
        from latentbench.files import reading
        from latentbench.results.folder import AGAIN, RunFolder

        if not any(sum(one.scored.values()) for one in self.record.horizons):
            raise UsageError(
                f"No horizon of the run '{self.folder}' scored any frame.",
                "Its record says why: result.record.horizons.",
            )
        file = RunFolder(self.folder).frames_file
        with reading(file, AGAIN):
            return pyarrow.dataset.dataset(file)

    @cached_property
    def curves(self) -> pa.Table:
        """The losses of every training: horizon, seed, role, step, split and loss, a row each.

        Raises:
            DamagedFileError: the file is not what was written.
        """
        from latentbench.reports.curves import curves_of

        return curves_of(self.folder)

    def learning(self) -> Answer[pa.Table]:
        """The loss curves of every network, drawn in a line each, and how each ended."""
        from latentbench.reports.curves import curves_report

        return Answer(self.curves, partial(curves_report, self.record))

    @property
    def files(self) -> list[Path]:
        """What a user may want of the folder, by name."""
        from latentbench.results.folder import RunFolder

        return RunFolder(self.folder).files()

    @cached_property
    def config(self) -> RunConfig:
        """The resolved configuration."""
        from latentbench.config import RunConfig

        return RunConfig.model_validate(self.record.config)

    def page(self) -> Page:
        """What a paper shows: title, tables and notes."""
        from latentbench.reports.run import run_page

        return run_page(self.record)

    def to_csv(self) -> str:
        """Every figure as CSV, a row each."""
        return self.figures.to_csv()

    def plot(self, what: str = "gain", style: Path | str = "") -> MatplotlibFigure:
        """Draw the run for a paper, as `latentbench plot` does.

            result.plot("curves").savefig("curves.pdf")

        Args:
            what: `gain`, `context`, `split`, `curves`, `rollout`, `life`, `speakers` or
                `pit`.
            style: a style file of matplotlib, or the name of one; it wins over ours.

        Raises:
            UsageError: there is nothing to draw, no such style, or matplotlib is missing.
            DamagedFileError: a file of the run is not what was written.
        """
        from latentbench.pictures.drawing import draw
        from latentbench.pictures.rows import runs_to_draw

        return draw(what, runs_to_draw([self.folder]), style)

    def rollout(
        self, *, inject: str = "never", device: str = "", full: bool = False, **rolling: Any
    ) -> Answer[RolloutCurves]:
        """Roll the models of the run out again, as `latentbench rollout` does.

        Args:
            inject: which true frames are given back: `never`, `once:N`, `every:N`, `until:N`,
                `teacher`.
            device: where the models run; empty: where they were trained.
            full: whether the tables show the autocorrelation and the energy distance too.
            **rolling: attributes of `latentbench.rollout.curves.Rolling`: `horizons`, `mode`,
                `target`, `utterances`, `depths`.

        Raises:
            UsageError: the latents are not in the cache, or the run has no such horizon.
        """
        from latentbench.reports.rollout import rollout_report
        from latentbench.rollout.curves import Rolling, rollout_curves
        from latentbench.rollout.engine import Injection

        asked = Rolling(inject=Injection.parse(inject), **rolling)
        found = rollout_curves(self._opened(device), asked, self._workspace.progress)
        return Answer(found, partial(rollout_report, full=full))

    def listen(
        self, *, out: Path | str | None = None, device: str = "", **asked: Any
    ) -> Answer[Listening]:
        """Write what the models of the run predicted as sound, as `latentbench listen` does.

        Args:
            out: folder of the WAVs and of `listen.json`; by default `listen` in that of the run.
            device: where the models run; empty: where they were trained.
            **asked: attributes of `latentbench.listening.listen.Asked`: `utterances`, `horizon`,
                `seed`, `prompt_seconds`.

        Raises:
            UsageError: the encoder has no decoder, its latents or audio are not at hand, or the
                run has no such cell.
        """
        from pathlib import Path

        from latentbench.listening.listen import Asked, listen
        from latentbench.listening.record import FOLDER
        from latentbench.reports.listening import listening_report

        folder = self.folder / FOLDER if out is None else Path(out)
        found = listen(self._opened(device), Asked(**asked), folder, self._workspace)
        return Answer(found, listening_report)

    def injection(
        self, *, horizons: Sequence[int] = (), mode: Mode = "mean", device: str = ""
    ) -> Answer[InjectedRollouts]:
        """Hold the run to the published injection protocol: `rollout --inject published`.

        Args:
            horizons: of the run; none: all of them.
            mode: what the model moves by: `mean`, `sample` or `component`.
            device: where the models run; empty: where they were trained.

        Raises:
            UsageError: the latents are not in the cache.
            LatentbenchError: no eval utterance drawn is long enough.
        """
        from latentbench.reports.rollout import injection_report
        from latentbench.rollout.injection import injected_rollouts

        found = injected_rollouts(
            self._opened(device), tuple(horizons), mode, self._workspace.progress
        )
        return Answer(found, injection_report)

    def explain(self, *, device: str = "", **asked: Any) -> Answer[Explanation]:
        """Say which frames make the means of the run, and why, as `latentbench explain` does.

        Args:
            device: where the models run; empty: where they were trained.
            **asked: of `latentbench.explain.explain.explain_run`: `horizon`, `seed`, `split`,
                `top`, `search`.

        Raises:
            UsageError: the latents are not in the cache, or the run has no such cell.
        """
        from latentbench.explain.explain import explain_run
        from latentbench.reports.explain import explain_report

        progress = self._workspace.progress
        found = explain_run(self._opened(device), **asked, progress=progress)
        return Answer(found, explain_report)

    def verify(self) -> Answer[Verification]:
        """Hold the run against the published table of Phase 1, as `latentbench verify` does."""
        from latentbench.reports.verify import verify_report
        from latentbench.verification.verify import verify_result

        return Answer(verify_result(self.record, self.registry), verify_report)

    def _opened(self, device: str) -> OpenedRun:
        from latentbench.opened import OpenedRun

        return OpenedRun(self.folder, self._workspace, self.registry, device)


class Comparison(_Tabled[Any]):
    """Runs side by side.

    Attributes:
        record: the schema of `latentbench compare --json`.
    """

    record: ComparisonRecord

    def __init__(self, record: ComparisonRecord) -> None:
        from latentbench.reports.comparison import comparison_report

        super().__init__(record, comparison_report)

    @property
    def figures(self) -> Figures:
        """Every figure of every run as one tidy table."""
        return self.record.figures

    def in_full(self) -> Answer[ComparisonRecord]:
        """The same with every figure and difference, and all that differs."""
        from latentbench.reports.comparison import comparison_report

        return Answer(self.record, partial(comparison_report, full=True))

    def page(self) -> Page:
        """What a paper shows: title, tables and notes."""
        from latentbench.reports.comparison import comparison_page

        return comparison_page(self.record)

    def to_csv(self) -> str:
        """What is compared as CSV, a row for each run, horizon, split and slice."""
        from latentbench.reports.spreadsheet import comparison_csv

        return comparison_csv(self.record)
