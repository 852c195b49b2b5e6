"""What is planted is found and blamed; what is sound is left alone."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from latentbench.errors import LatentbenchError, UsageError
from latentbench.explain.explain import explain_run
from latentbench.reports.explain import explain_report
from latentbench.reports.tables import Table


def holding(found):
    return {one.letter for one in found.hypotheses if one.holds}


def test_a_sound_run_has_nothing_unusual(open_planted):
    found = explain_run(open_planted("none"))
    assert (found.verdict, holding(found)) == ("e", {"e"})
    assert len(found.tails) == 2
    assert all(tail.weight < 0.1 for tail in found.tails)
    for sampled, heading in (("speakers", "speaker"), ("files", "file")):
        shown = explain_report(found.model_copy(update={"sampled": sampled}))
        tables = [one for one in shown if isinstance(one, Table)]
        headings = [column.heading for table in tables for column in table.columns]
        assert [one for one in headings if one in {"speaker", "file"}] == [heading]


def test_one_rare_context_is_found_and_blamed(open_planted):
    run = open_planted("rare")
    found = explain_run(run)
    assert (found.verdict, holding(found)) == ("a", {"a"})
    assert found.split == "eval"
    assert {one.utterance for one in found.worst} == {"s00-1"}
    assert {one.speaker for one in found.worst} == {"s00"}
    worst = found.worst[0]
    assert worst.seconds == pytest.approx(worst.frame / 12.5)
    assert worst.distance_quantile > 0.99
    assert worst.nearest > found.typical.nearest_far
    assert worst.sigmas > 3
    assert "mdn-robust" in found.advice
    assert "of 1 utterance(s)" in found.summary
    assert found.carriers.at_clamp > 0.5
    train_tail = next(tail for tail in found.tails if tail.split == "train")
    assert train_tail.weight < 0.1


def test_the_split_without_the_rare_context_is_sound(open_planted):
    found = explain_run(open_planted("rare"), split="train")
    assert (found.split, found.verdict) == ("train", "e")


def test_heavy_targets_are_blamed_where_the_baseline_suffers_too(open_planted):
    found = explain_run(open_planted("heavy"))
    assert found.verdict == "b"
    assert found.carriers.heavy > 0.5
    assert {one.frame for one in found.worst[:3]} <= {60, 61}


def test_repeated_frames_are_blamed_on_the_data(open_planted):
    found = explain_run(open_planted("silence"))
    assert found.verdict == "d"
    (judged,) = [one for one in found.hypotheses if one.letter == "d"]
    assert "equal the frame before" in judged.evidence


def test_the_figures_of_a_worst_frame_are_those_of_a_plain_computation(open_planted):
    run = open_planted("rare")
    found = explain_run(run)
    worst = found.worst[0]
    arrays = {one.id: run.latents.utterance(i).numpy() for i, one in
              enumerate(run.latents.utterances)}  # fmt: skip
    train = [run.latents.utterances[i].id for i in run.sides["train"]]
    context = arrays[worst.utterance][worst.frame - 9 : worst.frame - 1].astype(np.float64)
    assert worst.context_norm == pytest.approx(np.linalg.norm(context))
    newest = np.concatenate([arrays[name][9:-2] for name in train]).astype(np.float64)
    mean, deviation = newest.mean(0), newest.std(0, ddof=1)
    scaled = (context - mean) / deviation
    assert worst.context_distance == pytest.approx(np.sqrt((scaled**2).mean()))
    nearest = min(
        np.sqrt(((((arrays[name][t - 9 : t - 1] - mean) / deviation) - scaled) ** 2).mean())
        for name in train
        if name != worst.utterance
        for t in range(11, len(arrays[name]))
    )
    assert worst.nearest == pytest.approx(nearest)
    table = pq.read_table(run.folder.frames_file)
    nll = table["nll"].to_numpy()[np.array(table["split"].to_pylist()) == "eval"]
    assert worst.nll == nll.max()
    tail = next(tail for tail in found.tails if tail.split == "eval")
    count = int(np.ceil(len(nll) / 1000))
    assert tail.trimmed_mean == pytest.approx(np.sort(nll)[:-count].mean())
    assert tail.share == pytest.approx(np.sort(nll)[-count:].sum() / nll.sum())
    assert sum(one.n for one in found.bins) == len(nll)


def test_the_density_of_a_worst_frame_is_looked_at_as_torch_would(open_planted):
    import torch

    run = open_planted("rare")
    worst = explain_run(run).worst[0]
    frames = run.frames(2, "eval")
    ids = np.array([one.id for one in run.latents.utterances])
    (number,) = np.flatnonzero(
        (ids[frames.utterance] == worst.utterance) & (frames.t == worst.frame)
    )
    batch = frames.batch(np.array([number]))
    with torch.no_grad():
        density = run.model(2, 42)(batch.context)
    normal = torch.distributions.Normal(
        density.component_means.double(), density.component_log_sigmas.double().exp()
    )
    joint = density.weights.double().log() + normal.log_prob(batch.target[:, None].double()).sum(-1)
    best = int(joint.argmax())
    assert worst.log_sigma == pytest.approx(float(density.component_log_sigmas[0, best].min()))
    z = (batch.target[0] - density.component_means[0, best]) / density.component_log_sigmas[
        0, best
    ].exp()
    assert worst.sigmas == pytest.approx(float(z.square().mean().sqrt()), rel=1e-5)
    assert worst.weight == pytest.approx(float(density.weights.max()))
    assert worst.nll == pytest.approx(float(-joint.logsumexp(-1)), rel=1e-5)


def test_a_robust_predictor_takes_the_explosion_away(open_planted):
    found = explain_run(open_planted("rare", "predictor={name: mdn-robust, width: 48}"))
    assert found.verdict == "e"


@pytest.mark.parametrize(
    ("predictor", "tells"),
    [
        ("{name: mdn-robust, width: 48}", True),
        ("{name: mdn-robust, width: 48, tails: student-t}", True),
        ("linear", True),
        ("{name: neural, head: mdn, width: 16}", True),
        ("{name: neural, head: vmf, width: 16}", False),
    ],
)
def test_every_mixture_is_looked_at_and_nothing_is_said_of_other_densities(
    open_planted, predictor, tells
):
    found = explain_run(open_planted("rare", f"predictor={predictor}", "training.steps=20"))
    looks = np.array([(one.at_clamp, one.weight, one.log_sigma, one.sigmas) for one in found.worst])
    assert np.isfinite(found.typical.log_sigma) == tells
    assert np.isfinite(looks).all() if tells else np.isnan(looks).all()
    if tells:
        assert ((looks[:, :2] >= 0) & (looks[:, :2] <= 1)).all()


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"horizon": 5}, r"no frame of horizon 5\.\nIt has: 2\."),
        ({"seed": 1}, r"no frame of seed 1\.\nIt has: 42\."),
    ],
)
def test_what_the_run_does_not_have_is_refused(open_planted, asked, message):
    with pytest.raises(UsageError, match=message):
        explain_run(open_planted("none"), **asked)


@pytest.mark.parametrize(
    "chosen",
    [
        ("evaluation.max_frames=500",),
        ("evaluation.order=round_robin", "evaluation.max_frames=500"),
        ("evaluation.order=round_robin", "evaluation.max_seconds_per_speaker=10.0"),
    ],
)
@pytest.mark.parametrize("split", ["train", "eval"])
def test_the_frames_that_are_named_are_those_that_were_scored(open_planted, chosen, split):
    """Whatever chose them: each worst frame is a row of the table, and the baseline's too."""
    run = open_planted("none", *chosen)
    table = pq.read_table(run.folder.frames_file).to_pylist()
    rows = {(one["utterance"], one["frame"]): one for one in table if one["split"] == split}
    whole = run.frames(2, split)
    assert len(rows) < len(whole)
    found = explain_run(run, split=split, top=5)
    assert found.worst[0].nll == max(one["nll"] for one in rows.values())
    for one in found.worst:
        row = rows[one.utterance, one.frame]
        assert (one.nll, one.nll_baseline) == (row["nll"], row["nll_baseline"])


def test_scores_of_other_frames_are_refused(open_planted, tmp_path):
    run = open_planted("none")
    table = pq.read_table(run.folder.frames_file)
    column = table.schema.get_field_index("frame")
    changed = table.set_column(column, "frame", pa.array(table["frame"].to_numpy() + 1))
    pq.write_table(changed, tmp_path / "frames.parquet")
    from latentbench.explain.tails import read_scores

    scores = read_scores(tmp_path / "frames.parquet")[0]
    with pytest.raises(LatentbenchError, match="are not those that were scored"):
        scores.require_same(run.frames(2, scores.split))


def test_scores_that_are_not_there_are_an_error(tmp_path):
    from latentbench.explain.tails import read_scores

    with pytest.raises(UsageError, match="is not there, so no frame can be explained"):
        read_scores(tmp_path / "frames.parquet")
    pq.write_table(pa.table({"nll_baseline": [1.0]}), tmp_path / "frames.parquet")
    with pytest.raises(UsageError, match="kept no 'nll' per frame"):
        read_scores(tmp_path / "frames.parquet")


def test_the_command_prints_the_verdict_within_80_columns(planted_run, planted_plugin, monkeypatch):
    from click.testing import CliRunner

    from latentbench.cli import main

    monkeypatch.setenv("COLUMNS", "80")
    folder = planted_run("rare")
    command = ["--plugin", str(planted_plugin), "explain", str(folder / "run")]
    command += ["--cache", str(folder / "cache")]
    shown = CliRunner().invoke(main, command)
    assert shown.exit_code == 0, shown.output
    assert shown.stdout.startswith("What this says\n- k = 2, eval: extrapolation on rare contexts")
    assert "Verdict: a." in shown.stdout
    assert "s00-1" in shown.stdout
    assert max(map(len, shown.stdout.splitlines())) <= 80
    printed = CliRunner().invoke(main, [*command, "--json", "--top", "2", "--split", "train"])
    found = json.loads(printed.stdout)
    assert (found["split"], found["verdict"], len(found["worst"])) == ("train", "e", 2)


def test_latents_that_are_gone_are_an_error_that_says_so(planted_run, planted_plugin, tmp_path):
    from click.testing import CliRunner

    from latentbench.cli import main

    folder = planted_run("none")
    command = ["--plugin", str(planted_plugin), "explain", str(folder / "run")]
    gone = CliRunner().invoke(main, [*command, "--cache", str(tmp_path)])
    assert gone.exit_code == 2
    assert "are not in the cache" in gone.stderr
    assert "--cache" in gone.stderr
