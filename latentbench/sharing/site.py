"""The leaderboard as a folder of pages, for any static host or none: no script, no request."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import yaml

from latentbench.errors import UsageError
from latentbench.files import require_writable, write_text, writing
from latentbench.pictures.page import render
from latentbench.reports.columns import compact, decimals_of, shown_interval, time_text
from latentbench.reports.run import failures, summary_table, title_of
from latentbench.reports.tables import BLANK, Table, column
from latentbench.reports.words import words_of_run
from latentbench.results.figures import Figures
from latentbench.results.standing import sampled, scored_speakers
from latentbench.sharing.boards import boards_of
from latentbench.sharing.submissions import submissions_in

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from latentbench.results.schema import Figure
    from latentbench.sharing.boards import Board, Row
    from latentbench.sharing.submissions import Refused, Submission

__all__ = ["build_site"]

MARKER = "leaderboard.json"  # a folder that holds it is one of ours, and is written anew
RUNS = "runs"
AUDIO_DIGITS = 12


def build_site(folders: Mapping[str, Path], out: Path) -> Path:
    """Write the leaderboard of every result below these folders; its first page.

    Args:
        folders: of runs, or of what was published, by what they are called.
        out: the folder of the site; another leaderboard in it is replaced.

    Raises:
        UsageError: there is no result, `out` holds something else or cannot be written, or jinja2
            is missing.
    """
    _require_ours(out)
    submissions, refused = submissions_in(folders)
    boards = boards_of(submissions)
    pages = {"index.html": _index(boards, refused)}
    for one in submissions:
        pages |= _pages_of(one)
    pages[MARKER] = json.dumps(_record(boards, refused), indent=1, ensure_ascii=True) + "\n"
    with writing(out):
        shutil.rmtree(out / RUNS, ignore_errors=True)
        (out / RUNS).mkdir(parents=True)
        for name, text in pages.items():
            write_text(out / name, text)
    return out / "index.html"


def _require_ours(out: Path) -> None:
    require_writable(out, folder=True)
    if out.exists() and any(out.iterdir()) and not (out / MARKER).exists():
        raise UsageError(
            f"--out {out} is not empty and holds no leaderboard.", "Choose another folder."
        )


def _index(boards: Sequence[Board], refused: Sequence[Refused]) -> str:
    told = [
        {
            "name": one.name,
            "protocol": one.protocol.partition(" with ")[0],
            "changes": one.protocol.partition(" with ")[2],
            "corpus": one.corpus,
            "audio": one.audio[:AUDIO_DIGITS],
            "tables": [_table(ms, rows) for ms, rows in one.stalenesses.items()],
        }
        for one in boards
    ]
    return render("leaderboard.html", title="Leaderboard", boards=told, refused=refused)


def _table(ms: float, rows: Sequence[Row]) -> dict[str, Any]:
    whose = dict.fromkeys(sampled(row.submission.result) for row in rows)
    return {"ms": time_text(ms), "sampled": "/".join(whose), "rows": [_cells(row) for row in rows]}


def _cells(row: Row) -> dict[str, Any]:
    result = row.submission.result
    return {
        "name": row.submission.name,
        "rank": BLANK if row.rank is None else str(row.rank),
        "reason": row.reason,
        "encoder": result.encoder.name,
        "predictor": result.config["predictor"]["name"],
        "r2i": _text(row.figure),
        "gain": _text(row.gain),
        "dim": _dims(result.encoder.dim, row.horizon.dim),
        "rate": f"{result.encoder.frame_rate:.5g}",
        "speakers": str(scored_speakers(result, row.horizon)),
        "stamps": result.stamps,
    }


def _dims(encoded: int, predicted: int) -> str:
    """Of the encoder, and of what was predicted where that has others."""
    return f"{encoded} → {predicted}" if predicted not in (0, encoded) else str(encoded)


def _text(found: Figure | None) -> str:
    if found is None:
        return BLANK
    decimals = decimals_of(found.name)
    bounds = shown_interval(found.low, found.high, decimals)
    return compact(found.value, decimals) + ("" if bounds == BLANK else f" ({bounds})")


def _pages_of(one: Submission) -> dict[str, str]:
    """The page of a result, and its files."""
    from latentbench.pictures.report import provenance_of  # noqa: PLC0415 - reads frames

    result, figures = one.result, Figures.of(one.result, one.name)
    page = render(
        "submission.html",
        title=title_of(result),
        name=one.name,
        source=one.source,
        stamps=result.stamps,
        says=words_of_run(result),
        summary=summary_table(result),
        figures=_table_of(figures),
        notes=list(failures(result)),
        provenance=dict(provenance_of(result)),
        config=yaml.safe_dump(result.config, sort_keys=False, allow_unicode=True),
    )
    return {
        f"{RUNS}/{one.name}.html": page,
        f"{RUNS}/{one.name}.json": result.to_json(),
        f"{RUNS}/{one.name}.csv": figures.to_csv(),
    }


def _table_of(figures: Figures) -> Table:
    rows = figures.where(split="eval", slice="all").rows
    return Table(
        (column("figure", rows, lambda row: row.figure, left=True),),
        (
            (
                column("k", rows, lambda row: str(row.k)),
                column("ms", rows, lambda row: time_text(row.ms)),
                column("value", rows, lambda row: f"{row.value:.6g}"),
                column("95 % interval", rows, lambda row: shown_interval(row.low, row.high, 4)),
                column("n", rows, lambda row: str(row.n)),
                column("unit", rows, lambda row: row.unit, left=True),
            ),
        ),
    )


def _record(boards: Sequence[Board], refused: Sequence[Refused]) -> dict[str, Any]:
    """What `leaderboard.json` holds: boards, rows by their names, and what was refused."""
    return {
        "schema_version": 1,
        "boards": [
            {
                "name": board.name,
                "protocol": board.protocol,
                "corpus": board.corpus,
                "audio": board.audio,
                "rows": [
                    {
                        "run": row.submission.name,
                        "source": row.submission.source,
                        "ms": ms,
                        "k": row.horizon.k,
                        "rank": row.rank,
                        "reason": row.reason,
                        "encoder": row.submission.result.encoder.name,
                        "predictor": row.submission.result.config["predictor"]["name"],
                        "stamps": row.submission.result.stamps,
                        "r2i": row.figure and row.figure.model_dump(mode="json"),
                        "gain": row.gain and row.gain.model_dump(mode="json"),
                    }
                    for ms, rows in board.stalenesses.items()
                    for row in rows
                ],
            }
            for board in boards
        ],
        "refused": [{"source": one.source, "reason": one.reason} for one in refused],
    }
