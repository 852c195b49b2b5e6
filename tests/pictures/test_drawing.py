"""What is drawn is what the rows say: the artists, the files and what is refused."""

import builtins
import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np
import pytest

import latentbench as lb
from latentbench.cli import pictures as plot
from latentbench.pictures import drawing
from latentbench.pictures.charts import charts_of
from latentbench.pictures.drawing import draw, picture
from latentbench.pictures.rows import PICTURES, rows_of

MEASURED = ("gain", "split", "curves", "rollout", "life", "speakers", "pit")


def heights(axes):
    return sorted(
        float(y) for line in axes.lines for y in line.get_ydata() if line.get_marker() != "None"
    )


def test_the_command_line_names_every_picture():
    assert tuple(PICTURES) == plot.PICTURES
    assert tuple(f".{one}" for one in drawing.FORMATS) == plot.SUFFIXES


def test_the_marks_and_intervals_of_the_gain_are_its_figures(runs):
    rows = [row for row in rows_of("gain", runs) if row["figure"] == "gain"]
    axes = draw("gain", runs).axes[0]
    assert heights(axes) == sorted(row["value"] for row in rows)
    bars = [one.get_segments()[0][:, 1] for one in axes.collections]
    assert np.allclose(bars, [(row["low"], row["high"]) for row in rows])


def test_bars_stand_on_one_another_up_to_dnll(runs):
    rows = rows_of("split", runs)
    (axes,) = draw("split", runs).axes
    capacity, context = axes.containers
    for bars, part in ((capacity, "capacity"), (context, "context")):
        assert [one.get_height() for one in bars] == [r["value"] for r in rows if r["part"] == part]
    whole = [row["value"] for row in rows if row["part"] == "dnll"]
    assert np.allclose([one.get_y() + one.get_height() for one in context], whole)


def test_every_speaker_has_a_mark(runs):
    rows = rows_of("speakers", runs)
    assert heights(draw("speakers", runs).axes[0]) == sorted(row["value"] for row in rows)


def test_every_staleness_has_a_panel_of_losses(runs):
    rows = rows_of("curves", runs)
    panels = draw("curves", runs).axes
    drawn = sorted(float(y) for axes in panels for line in axes.lines for y in line.get_ydata())
    assert len(panels) == 2
    assert drawn == sorted(row["loss"] for row in rows)


def test_a_depth_that_is_not_finite_is_a_cross(runs, monkeypatch):
    place = {"run": "r", "ms": 80.0, "k": 1, "n": 3, "non_finite": 2}
    rows = [
        {**place, "depth": 1, "value": 2.0, "diverged": False},
        {**place, "depth": 2, "value": None, "diverged": True},
    ]
    monkeypatch.setattr(drawing, "rows_of", lambda *_: rows)
    (axes,) = draw("rollout", runs).axes
    marks = {line.get_marker(): list(line.get_xdata()) for line in axes.lines}
    assert marks["o"] == [1]
    assert marks["x"] == [2]


def test_what_frames_do_is_drawn_figure_by_figure_and_dead_ones_are_squares(runs):
    rows = rows_of("life", runs)
    panels = draw("life", runs).axes
    assert [axes.get_ylabel() for axes in panels] == ["movement", "variance", "energy distance"]
    for axes in panels:
        own = [row for row in rows if row["figure"] == axes.get_ylabel()]
        dots = [y for line in axes.lines if line.get_marker() == "o" for y in line.get_ydata()]
        squares = [y for line in axes.lines if line.get_marker() == "s" for y in line.get_ydata()]
        assert sorted(dots) == sorted(row["value"] for row in own)
        dead = [row["value"] for row in own if row["dead"]]
        assert sorted(squares) == ([] if axes is panels[-1] else sorted(dead))
    assert dead


@pytest.mark.parametrize("what", ["rollout", "life"])
def test_panels_of_several_runs_have_room(runs, make_named, what):
    """A layout that finds none warns, and a warning is an error here."""
    assert picture(what, make_named(runs), "svg")


@pytest.mark.parametrize("what", MEASURED)
def test_an_svg_is_sound_and_names_what_is_on_its_axes(runs, what):
    svg = picture(what, runs, "svg")
    texts = [one.text for one in ET.fromstring(svg.decode()).iter() if one.tag.endswith("text")]  # noqa: S314 - our own
    assert any(
        word in " ".join(filter(None, texts)) for word in ("staleness", "step", "depth", "PIT")
    )
    assert picture(what, runs, "svg") == svg


@pytest.mark.parametrize(("form", "magic"), [("pdf", b"%PDF"), ("png", b"\x89PNG")])
def test_files_are_of_their_format_and_the_same_each_time(runs, form, magic):
    drawn = picture("gain", runs, form)
    assert drawn.startswith(magic)
    assert picture("gain", runs, form) == drawn


def test_the_name_of_a_run_is_no_mathematics(runs, make_named):
    texts = [one.get_text() for one in draw("gain", make_named(runs)).legends[0].get_texts()]
    assert texts == ["a$b_<i>", " _b$"]


@pytest.fixture
def make_named():
    """The first run twice, by its own name and by another."""
    from dataclasses import replace

    return lambda runs: [runs[0], replace(runs[0], label="_b$")]


def test_a_style_file_wins_over_ours_and_leaves_no_trace(runs, tmp_path):
    import matplotlib as mpl

    before = mpl.rcParams["font.size"]
    style = tmp_path / "wide.mplstyle"
    style.write_text("figure.figsize: 7, 3\n")
    assert draw("speakers", runs, style).get_size_inches()[0] == 7
    assert draw("speakers", runs).get_size_inches()[0] == 3.3
    assert mpl.rcParams["font.size"] == before


def test_a_result_draws_itself(folders):
    figure = lb.read(folders[0], progress=False).plot("gain")
    assert len(figure.axes) == 2


def test_the_command_writes_the_file(folders, tmp_path, invoke):
    out = tmp_path / "gain.pdf"
    ended = invoke("plot", *folders, "--out", out)
    assert (ended.exit_code, ended.stderr) == (0, f"Wrote {out}\n")
    assert out.read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "x.jpg"], "the suffix '.jpg' names no format.\nUse one of .pdf, .svg, .png."),
        (["--out", "x.svg", "--style", "no-such"], "--style no-such cannot be read"),
        (["--out", "x.svg", "--what", "gian"], "'gian' is not one of"),
    ],
)
def test_what_cannot_be_drawn_is_said(folders, invoke, arguments, message):
    ended = invoke("plot", folders[0], *arguments)
    assert ended.exit_code == 2
    assert message in ended.stderr


def test_of_nothing_there_is_no_picture_but_a_reason(folders, invoke, tmp_path):
    ended = invoke("plot", folders[1], "--out", tmp_path / "x.svg")
    assert ended.exit_code == 2
    assert "There is nothing to draw of 'gain'." in ended.stderr
    assert "'--what curves' shows how they trained" in ended.stderr
    ended = invoke("plot", folders[0], "--what", "curves", "--out", tmp_path / "x.svg")
    assert "Nothing was trained by gradient descent." in ended.stderr


def test_why_nothing_is_drawn_is_what_the_run_lacks(runs):
    linear = runs[0]
    (first, *_) = linear.result.horizons
    told = "the predictor gives samples"
    nothing = first.figure("eval", "all", "nll").model_copy(update={"n": 0, "interval_note": told})
    samples = first.model_copy(update={"figures": (nothing,), "rollout": None})
    empty = first.model_copy(update={"frames": {"train": 0}, "figures": ()})
    for horizon, hint in ((samples, rf"There is no NLL: {told}\."), (empty, "has a model")):
        result = linear.result.model_copy(update={"horizons": (horizon,)})
        with pytest.raises(lb.UsageError) as caught:
            draw("gain", [replace(linear, result=result)])
        assert re.search(hint, caught.value.hint)


def test_without_matplotlib_the_extra_is_named(runs, monkeypatch):
    real = builtins.__import__

    def without(name, *rest):
        if name.startswith("matplotlib"):
            raise ModuleNotFoundError(name=name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(lb.UsageError, match=r"pip install 'latentbench\[pictures\]'"):
        draw("gain", runs)


def test_files_are_not_called_speakers(runs):
    config = runs[0].result.config
    by_file = config | {"split": config["split"] | {"by": "file"}}
    run = replace(runs[0], result=runs[0].result.model_copy(update={"config": by_file}))
    (axes,) = drawing.draw("speakers", [run]).axes
    assert axes.get_xlabel().endswith("a mark a file")
    charts = charts_of("speakers", [run])
    assert charts.panels[0].title == "gain of each file"
    assert "speaker" not in [one.heading for one in charts.tables[0].columns]
    assert "file" in [one.heading for one in charts.tables[0].columns]
