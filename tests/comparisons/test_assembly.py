"""Which figures stand beside each other, in which units, and what is said of them."""

import math

import pytest

from latentbench.comparisons import Comparison, compare_runs
from latentbench.comparisons.comparison import Failure
from latentbench.config import RunConfig
from latentbench.errors import UsageError
from latentbench.latents.manifest import ManifestRow
from latentbench.results.schema import EncoderFacts, Figure, Provenance


def encoder(name="mimi", rate=12.5, **facts):
    return EncoderFacts(name=name, dim=512, frame_rate=rate, hop=320, sample_rate=24_000, **facts)


def in_time(make_result, rate, asked, ks, name):
    """A run asked for in milliseconds, at the horizons `ks`."""
    task = {"horizons": ks, "horizons_ms": asked, "slices": ("all",)}
    config = RunConfig.model_validate({"task": task, "encoder": {"name": name}})
    result = make_result(encoder=encoder(name, rate), config=config.model_dump(mode="json"))
    horizons = [
        one.model_copy(update={"k": k, "milliseconds": 1000 * k / rate})
        for one, k in zip(result.horizons, ks, strict=False)
    ]
    return result.model_copy(update={"horizons": tuple(horizons)})


def places(comparison):
    return [(one.matched, one.run, one.result.k) for one in comparison.horizons]


def test_horizons_asked_for_in_time_stand_side_by_side(make_run, make_result):
    slow = make_run("slow", result=in_time(make_result, 12.5, (80.0, 160.0), (1, 2), "mimi"))
    fast = make_run("fast", result=in_time(make_result, 86.13, (80.0, 160.0), (7, 14), "dac"))
    found = compare_runs([fast, slow])
    assert places(found) == [
        ("80 ms", "fast", 7),
        ("80 ms", "slow", 1),
        ("160 ms", "fast", 14),
        ("160 ms", "slow", 2),
    ]
    assert found.horizons[0].asked_ms == 80.0
    assert found.horizons[0].result.milliseconds == pytest.approx(81.27, abs=0.01)


def test_runs_in_frames_meet_where_their_times_do(make_run, make_result):
    slow = make_run("slow")
    fast_result = make_result(encoder=encoder("soundstream", 50.0))
    horizons = [
        one.model_copy(update={"milliseconds": 20.0 * one.k}) for one in fast_result.horizons
    ]
    fast = make_run("fast", result=fast_result.model_copy(update={"horizons": tuple(horizons)}))
    found = compare_runs([slow, fast])
    assert places(found)[:4] == [
        ("20 ms", "fast", 1),
        ("40 ms", "fast", 2),
        ("80 ms", "slow", 1),
        ("80 ms", "fast", 4),
    ]
    by_k = compare_runs([slow, fast], match="frames")
    assert places(by_k)[:3] == [("k=1", "slow", 1), ("k=1", "fast", 1), ("k=2", "slow", 2)]


def test_figures_per_dimension_and_rates_only_where_they_are_rates(make_run, make_result):
    gain = Figure(
        split="eval", slice="all", name="x_gain", value=-30.0, n=9, unit="nats/frame",
        better="lower",
    )  # fmt: skip
    result = make_result()
    horizons = [
        one.model_copy(
            update={
                "dim": 64,
                "figures": (
                    gain,
                    gain.model_copy(update={"name": "dnll"}),
                    gain.model_copy(update={"slice": "high_energy"}),
                ),
            }
        )
        for one in result.horizons
    ]
    run = make_run("a", result=result.model_copy(update={"horizons": tuple(horizons)}))
    first, second, *_ = compare_runs([run]).horizons
    told = first.scale("eval", "all", "x_gain")
    assert told.nats_per_dim == pytest.approx(-30 / 64)
    assert told.bits_per_dim == pytest.approx(-30 / 64 / math.log(2))
    assert told.kbps == pytest.approx(-30 / math.log(2) * 12.5 / 1000)
    assert first.scale("eval", "all", "dnll").kbps is None  # its baseline codes changes
    assert first.scale("eval", "high_energy", "x_gain").kbps is None
    assert second.scale("eval", "all", "x_gain").kbps is None  # k = 2


def test_with_the_target_x_the_gain_is_a_rate_itself(make_run, make_result):
    result = make_result()
    config = result.config | {"task": result.config["task"] | {"target": "x"}}
    figures = tuple(
        one.model_copy(update={"unit": "nats/frame"}) for one in result.horizons[0].figures
    )
    horizon = result.horizons[0].model_copy(update={"figures": figures})
    result = result.model_copy(update={"config": config, "horizons": (horizon,)})
    (one,) = compare_runs([make_run("a", result=result)]).horizons
    assert one.scale("eval", "all", "dnll").kbps == pytest.approx(-3.344, abs=1e-3)
    assert one.scale("eval", "all", "nll").kbps is None


def test_the_part_due_to_context_is_the_headline_where_it_is_there(make_run, make_result):
    result = make_result()
    assert compare_runs([make_run("a")]).headline == "dnll"
    figure = result.horizons[0].figures[0].model_copy(update={"name": "dnll_context"})
    horizon = result.horizons[0].model_copy(update={"figures": (figure,)})
    run = make_run("b", result=result.model_copy(update={"horizons": (horizon,)}))
    found = compare_runs([make_run("a"), run])
    assert (found.headline, found.metrics[0]) == ("dnll_context", "dnll_context")


def test_nothing_differs_between_a_run_and_itself(make_run):
    found = compare_runs([make_run("a"), make_run("b")])
    assert (found.differences, found.warnings) == ((), ())
    assert {"utterances", "speaker split", "training", "seeds", "software"} <= set(found.same)


def differences(*runs):
    return {one.what: one.values for one in compare_runs(runs).differences}


@pytest.mark.parametrize(
    ("section", "value", "what"),
    [
        ("training", {"steps": 7}, "training.steps"),
        ("training", {"precision": "bf16"}, "training.precision"),
        ("split", {"seed": 1}, "split.seed"),
        ("utterances", {"limit": 3}, "utterances.limit"),
        ("evaluation", {"max_frames": 10}, "evaluation.max_frames"),
        ("rollout", {"utterances": 2}, "rollout.utterances"),
        ("baseline", {"name": "other"}, "baseline.name"),
        ("task", {"frame_set": "own"}, "task.frame_set"),
        ("task", {"step_frames": 2}, "delta over"),
        ("task", {"context_frames": 9}, "context"),
        ("predictor", {"width": 8}, "predictor mdn: width"),
        ("encoder", {"view": "semantic"}, "encoder mimi: view"),
    ],
)
def test_a_setting_that_differs_is_named(make_run, make_result, section, value, what):
    result = make_result()
    config = result.config | {
        "predictor": {"name": "mdn", "width": 1024},
        "encoder": {"name": "mimi", "view": "projected"},
    }
    other = config | {section: config[section] | value}
    found = differences(
        make_run("a", result=result.model_copy(update={"config": config})),
        make_run("b", result=result.model_copy(update={"config": other})),
    )
    assert set(found) == {what}
    assert found[what]["a"] != found[what]["b"]


def test_libraries_parameters_seeds_and_resampling_are_checked(make_run, make_result):
    result = make_result()
    made = Provenance(
        latentbench="0", python="3", platform="any", device="cpu",
        libraries={"torch": "2.6", "torchaudio": "2.6", "dac": "1"},
    )  # fmt: skip
    horizons = tuple(
        one.model_copy(update={"parameters": 5, "seeds": (1, 2)}) for one in result.horizons
    )
    one = make_run(
        "a", provenance=made.model_copy(update={"libraries": {"torch": "2.7", "torchaudio": "2.6"}})
    )
    facts = encoder().model_copy(update={"sample_rate": 16_000})
    other = make_run("b", provenance=made, horizons=horizons, encoder=facts)
    assert differences(one, other) == {
        "resampled to": {"a": "24,000 Hz", "b": "16,000 Hz"},
        "parameters": {"a": "13,650,952", "b": "5"},
        "seeds": {"a": "42", "b": "1, 2"},
        "torch": {"a": "2.7", "b": "2.6"},
    }


def test_another_preparation_of_the_audio_is_named(make_run, make_result):
    made = make_result().provenance
    other = made.model_copy(update={"preparation": "mono by the left channel"})
    assert differences(make_run("a"), make_run("b", provenance=other)) == {
        "preparation": {"a": "unknown", "b": "mono by the left channel"}
    }


def test_components_that_differ_are_named(make_run, make_result):
    result = make_result()
    marginal = result.config | {"predictor": {"name": "marginal"}}
    facts = result.corpus.model_copy(update={"name": "folder german"})
    assert differences(make_run("a"), make_run("b", config=marginal, corpus=facts)) == {
        "predictor": {"a": "mdn", "b": "marginal"},
        "corpus": {"a": "librispeech train-clean-100", "b": "folder german"},
    }


def test_frames_left_out_of_the_scores_are_told_in_time(make_run, make_result):
    result = make_result()
    uncut = tuple(one.model_copy(update={"scored": one.frames}) for one in result.horizons)
    found = differences(make_run("a"), make_run("b", horizons=uncut))
    assert found["scored audio"] == {
        "a": "the first 266.7 + 266.7 min (train + eval)",
        "b": "all",
    }


def test_weights_of_one_encoder_that_differ_are_named(make_run):
    runs = [
        make_run(digest, encoder=encoder(fingerprint={"weights": digest})) for digest in ("x", "y")
    ]
    assert differences(*runs) == {"encoder mimi: weights": {"x": "x", "y": "y"}}


def test_other_utterances_are_warned_of_with_counts(make_run):
    found = compare_runs([make_run("a", utterances=5), make_run("b", utterances=3)])
    assert found.warnings == ("The runs did not use the same utterances: a 5, b 3; 3 are in all.",)
    assert "utterances" in {one.what for one in found.differences}
    with pytest.raises(UsageError, match=r"a 5, b 3; 3 are in all.\n.*--strict"):
        compare_runs([make_run("a", utterances=5), make_run("b", utterances=3)], strict=True)


def test_other_audio_of_the_same_name_is_counted(make_run):
    rows = [ManifestRow(f"u{i}", f"s{i}", "train", f"other{i}", 4.0) for i in range(2)]
    found = compare_runs([make_run("a"), make_run("b", rows=rows)])
    assert "a 3, b 2; 0 are in all; 2 of the same name are other audio" in found.warnings[0]


def test_a_skipped_utterance_is_not_used(make_run):
    rows = [
        ManifestRow(f"u{i}", f"s{i}", "eval" if i % 2 else "train", f"digest{i}", 4.0, reason)
        for i, reason in enumerate(("", "", "too short for one chunk"))
    ]
    assert "a 3, b 2; 2 are in all." in compare_runs(
        [make_run("a"), make_run("b", rows=rows)]
    ).warnings[0]  # fmt: skip


def test_corpora_compared_on_purpose_are_a_difference_and_no_warning(make_run):
    runs = [make_run("en", audio="en"), make_run("de", audio="de", utterances=2)]
    found = compare_runs(runs, strict=True)
    assert found.warnings == ()
    assert "utterances" in {one.what for one in found.differences}


def test_a_comparison_reads_back_from_its_json(make_run):
    found = compare_runs([make_run("a")], failures=[Failure(label="b", error="no weights")])
    assert Comparison.model_validate_json(found.to_json()).to_json() == found.to_json()
    assert '"schema_version": 3' in found.to_json()
    assert "Infinity" in found.to_json()  # the published rollout gap at k = 4
