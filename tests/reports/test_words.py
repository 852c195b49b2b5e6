"""What a result says in words, on both sides of every threshold."""

import math

import pytest

from latentbench.encoders.encoder import WHOLE_UTTERANCE
from latentbench.predictors.learning_curve import Convergence
from latentbench.reports.words import words_of_run
from latentbench.results.schema import (
    ALONE,
    CorpusFacts,
    EncoderFacts,
    Figure,
    HorizonResult,
    RolloutFigures,
)
from latentbench.results.standing import gain_of, scored_speakers, withheld

DONE = Convergence(steps=400, best_step=200, best_loss=1.0, last_loss=1.1, converged=True)
CUT = DONE.model_copy(update={"converged": False})
UNKNOWN = DONE.model_copy(update={"converged": None})


def figure(name, value, low=None, high=None, *, split="eval", speakers=6):
    return Figure(
        split=split,
        slice="all",
        name=name,
        value=value,
        low=low,
        high=high,
        n=1000,
        better="higher",
        interval_note="one speaker" if low is None else "",
        speakers=speakers,
    )


def horizon(k=1, gain=(5.0, 4.0, 6.0), train=(5.0, 4.0, 6.0), fits=(DONE, DONE), **changes):
    figures = [
        figure("gain", *gain, speakers=changes.pop("speakers", 6)),
        figure("gain", *train, split="train"),
        figure("dnll", changes.pop("dnll", -10.0), speakers=0),
        figure("dnll_capacity", changes.pop("capacity", -4.0), speakers=0),
        figure("dnll_capacity", changes.pop("capacity_on_train", -4.0), split="train"),
    ]
    convergence = dict(zip(("predictor", "unconditional"), ((one,) for one in fits), strict=False))
    whole = {
        "k": k,
        "milliseconds": 20.0 * k,
        "status": "done",
        "seeds": (0,),
        "parameters": 1000,
        "steps": 400,
        "dim": 8,
        "frames": {"train": 1000, "eval": 500},
        "scored": {"train": 1000, "eval": 500},
        "figures": tuple(figures),
        "convergence": convergence,
    }
    return HorizonResult(**whole | changes)


def test_the_gain_of_phase1_is_its_context_with_the_sign_turned():
    context = figure("dnll_context", -3.0, -4.5, -1.0)
    gain = gain_of(HorizonResult(**dict(horizon()) | {"figures": (context,)}))
    assert (gain.name, gain.value, gain.low, gain.high) == ("gain", 3.0, 1.0, 4.5)
    bare = context.model_copy(update={"low": None, "high": None})
    gain = gain_of(HorizonResult(**dict(horizon()) | {"figures": (bare,)}))
    assert (gain.value, gain.low, gain.high) == (3.0, None, None)


@pytest.fixture
def result(make_result):
    def make(*horizons, target="x"):
        made = make_result()
        config = made.config | {"task": made.config["task"] | {"target": target}}
        corpus = CorpusFacts(
            name="speech",
            speakers={"train": ("a", "b"), "eval": tuple(map(str, range(20)))},
            utterances={"train": 2, "eval": 20},
            seconds={"train": 9.0, "eval": 9.0},
        )
        encoder = EncoderFacts(name="e", dim=8, frame_rate=50.0, hop=320, sample_rate=16000)
        changes = {"horizons": horizons, "corpus": corpus, "encoder": encoder, "config": config}
        return made.model_copy(update=changes)

    return make


def said(result, word):
    return [one for one in words_of_run(result) if word in one]


def test_a_gain_above_zero_is_said_with_its_interval_and_rate(result):
    (told,) = said(result(horizon()), "is worth")
    # 5 nats = 7.2 bits, 50 times a second.
    assert told == (
        "The context is worth 5.0 nats a frame at 20 ms (4.0 to 6.0), 361 bits a second at 20 ms."
    )


def test_a_rate_is_said_only_of_x_at_one_frame(result):
    assert "bits" not in said(result(horizon(), target="delta"), "is worth")[0]
    assert "bits" not in said(result(horizon(k=2)), "is worth")[0]


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [
        (0.001, 2.0, "The context is worth"),
        (0.0, 2.0, "No information was found at 20 ms: the interval of the gain holds 0"),
        (-2.0, 0.0, "No information was found at 20 ms: the interval of the gain holds 0"),
        (-2.0, -0.001, "No information was found by this model at 20 ms: it predicts new speakers"),
    ],
)
def test_what_the_interval_does_not_carry_is_not_said(result, low, high, word):
    gain = ((low + high) / 2, low, high)
    told = words_of_run(result(horizon(gain=gain, train=(0.0, -1.0, 1.0))))
    assert told[0].startswith(word)
    assert sum("nformation" in one or "is worth" in one for one in told) == 1


@pytest.mark.parametrize(
    ("gain", "worth", "rate", "least"),
    [
        # Of one dimension: nats times 50 / ln 2 are bits a second.
        ((0.054, 0.039, 0.069), "0.054 nats a frame at 20 ms (0.039 to 0.069)", "3.9", "0.015"),
        ((1.2, 0.0048, 2.3952), "1.2 nats a frame at 20 ms (0.0048 to 2.4)", "87", "1.2"),
        ((1e-9, 4e-10, 1.6e-9), "1.0e-09 nats a frame at 20 ms (4.0e-10 to 1.6e-09)", "7.2e-08",
         "6.0e-10"),
    ],
)  # fmt: skip
def test_no_number_of_a_sentence_is_rounded_to_nothing(result, gain, worth, rate, least):
    told = words_of_run(result(horizon(gain=gain, dnll=-0.09, capacity=-0.06, iid_floor=-0.04)))
    assert told[0] == f"The context is worth {worth}, {rate} bits a second at 20 ms."
    assert told[1] == (
        "Of ΔNLL -0.090 at 20 ms, -0.060 was won without any context: most of it is the shape of "
        "the marginal, not prediction. White latents would score -0.040."
    )
    assert f"a gain below about {least} nats cannot" in " ".join(told)


def test_several_horizons_are_told_in_one_sentence_each_way(result):
    told = words_of_run(
        result(
            horizon(1), horizon(2), horizon(4, gain=(0.1, -1.0, 1.0)), horizon(8, gain=(0, -1, 1))
        )
    )
    assert told[0].startswith("The context is worth 5.0 nats a frame at 20 ms (4.0 to 6.0); 5.0 at")
    assert told[1] == (
        "Nothing that can be told from 0 at 80 and 160 ms: the interval of the gain holds 0."
    )


@pytest.mark.parametrize(("capacity", "most"), [(-4.9, False), (-5.0, True), (-9.0, True)])
def test_most_of_dnll_is_capacity_from_a_half_on(result, capacity, most):
    assert bool(said(result(horizon(capacity=capacity)), "most of it is the shape")) is most


@pytest.mark.parametrize(("capacity", "more"), [(-10.0, False), (-10.1, True)])
def test_a_capacity_above_dnll_leaves_nothing_to_the_context(result, capacity, more):
    assert bool(said(result(horizon(capacity=capacity)), "none is prediction")) is more


@pytest.mark.parametrize(("floor", "told"), [(-2.5, True), (0.0, False)])
def test_the_floor_is_named_where_there_is_one(result, floor, told):
    assert bool(said(result(horizon(iid_floor=floor)), "White latents would score")) is told


@pytest.mark.parametrize(("train", "told"), [(7.4, False), (7.6, True)])
def test_a_third_less_on_new_speakers_is_overfitting(result, train, told):
    # 5 on eval is two thirds of 7.5.
    overfit = said(result(horizon(train=(train, 7.0, 9.0))), "overfits at 20 ms")
    assert bool(overfit) is told


@pytest.mark.parametrize(("more", "verb"), [(4.9, "may overfit"), (5.1, "overfits")])
def test_overfitting_is_told_beyond_the_interval_of_the_difference(result, more, verb):
    # Its half width is 5: 3 of the one and 4 of the other, at right angles.
    ours, theirs = (5.0, 0.0, 8.0), (5.0 + more, 1.0 + more, 20.0)
    (told,) = said(result(horizon(gain=ours, train=theirs)), "overfit")
    assert told.startswith(f"It {verb} at 20 ms: ")
    assert told.endswith("leave open." if verb == "may overfit" else "than a larger network.")


def test_one_new_speaker_leaves_open_whether_it_overfits(result):
    (told,) = said(result(horizon(gain=(1.0, None, None), train=(9.0, 8.0, 10.0))), "overfit")
    assert told == (
        "It may overfit at 20 ms: on the speakers it was trained on the context is worth 9.0 nats "
        "at 20 ms, on new ones 1.0, which so few new speakers leave open."
    )


def test_a_gain_on_train_that_may_be_zero_is_no_overfitting(result):
    assert not said(result(horizon(gain=(0, -1, 1), train=(9.0, -1.0, 19.0))), "overfits")


def test_the_smallest_difference_is_half_the_widest_interval(result):
    told = said(result(horizon(1), horizon(2, gain=(5.0, 2.0, 8.0))), "cannot be told from 0")
    assert told == ["With 6 eval speakers a gain below about 3.0 nats cannot be told from 0."]


@pytest.mark.parametrize("value", [5.0, 0.0, -5.0, math.nan])
def test_without_an_interval_nothing_is_said_of_its_sign(result, value):
    told = words_of_run(result(horizon(gain=(value, None, None))))
    shown = "nan" if math.isnan(value) else f"{value:.1f}"
    assert told[0] == (
        "Whether the context is worth anything is unknown where the gain has no interval: "
        f"{shown} at 20 ms (one speaker)."
    )
    assert not any("No information" in one or "holds 0" in one for one in told)
    assert not any("cannot be told from 0" in one for one in told)


def test_an_endless_interval_has_no_width_to_tell(result):
    told = words_of_run(result(horizon(gain=(-math.inf, -math.inf, -math.inf))))
    assert told[0].startswith("No information was found by this model")
    assert not any("nan" in one for one in told)


def test_convergence_is_said_where_it_is_known(result):
    slow = DONE.model_copy(update={"steps": 1250})
    assert said(result(horizon(fits=(DONE, slow))), "converged") == [
        "Every network converged, after 400 to 1,250 steps."
    ]
    assert said(result(horizon()), "converged") == ["Every network converged, after 400 steps."]
    unknown = horizon(fits=(UNKNOWN, UNKNOWN))
    assert "no speakers were kept" in said(result(unknown), "converged is unknown")[0]
    assert not said(result(horizon(fits=())), "converge")  # a closed form


@pytest.mark.parametrize("fits", [(CUT, DONE), (DONE, CUT)])
def test_what_did_not_converge_is_not_fitted_and_has_no_number(result, fits):
    of_run = result(horizon(fits=fits))
    assert withheld(of_run, of_run.horizons[0]) == ("not fitted",)
    told = words_of_run(of_run)
    assert told[0].startswith("Not fitted at 20 ms")
    assert not any("5.0" in one for one in told)


@pytest.mark.parametrize(("capacity", "unfit"), [(-0.1, False), (0.49, False), (0.51, True)])
def test_without_validation_a_control_that_loses_a_tenth_of_the_gain_is_not_fitted(
    result, capacity, unfit
):
    # The gain on train is 5.
    of_run = result(horizon(fits=(UNKNOWN, UNKNOWN), capacity_on_train=capacity))
    assert (withheld(of_run, of_run.horizons[0]) == ("not fitted",)) is unfit


def test_a_closed_form_is_fitted_whatever_its_control_loses(result):
    of_run = result(horizon(fits=(), steps=0, capacity_on_train=1.0))
    assert withheld(of_run, of_run.horizons[0]) == ()


def test_a_loss_without_any_gain_to_inflate_is_no_matter(result):
    bad = (-1.0, -2.0, 1.0)
    of_run = result(horizon(fits=(UNKNOWN,), gain=bad, train=bad, capacity_on_train=0.5))
    assert withheld(of_run, of_run.horizons[0]) == ()


def test_a_control_that_diverged_is_not_fitted(result):
    of_run = result(horizon(fits=(UNKNOWN, UNKNOWN), capacity_on_train=math.nan))
    assert "not fitted" in withheld(of_run, of_run.horizons[0])


@pytest.mark.parametrize(
    ("changes", "speakers", "reason"),
    [
        ({}, 4, None),
        ({}, 3, "3 eval speakers, at least 4 are needed"),
        ({}, 1, "1 eval speaker, at least 4 are needed"),
        ({"parameters": 8000}, 6, None),
        ({"parameters": 8001}, 6, "fewer numbers to train on than parameters"),
        ({"leaky": True}, 6, "leaky"),
        ({"gain": (-1.0, -2.0, 0.0)}, 6, None),
        ({"gain": (-1.0, -2.0, -0.1)}, 6, "no information found by this model"),
    ],
)
def test_why_a_horizon_takes_no_part_in_ranks(result, changes, speakers, reason):
    # Of the 20 eval speakers, evaluation.max_frames has left so many to score.
    of_run = result(horizon(speakers=speakers, **changes))
    assert withheld(of_run, of_run.horizons[0]) == ((reason,) if reason else ())


def test_a_result_that_tells_no_scored_speakers_has_those_of_eval(result):
    of_run = result(horizon(speakers=0))
    assert scored_speakers(of_run, of_run.horizons[0]) == 20
    assert withheld(of_run, of_run.horizons[0]) == ()


def test_the_published_result_speaks_from_its_context_part(make_result):
    told = words_of_run(make_result())
    assert "How much the context is worth is unknown" in told[0]
    assert any("diverges at 320 ms" in one for one in told)


def test_a_context_part_is_a_gain_with_its_sign_turned(result):
    part = figure("dnll_context", -5.0, -6.0, -4.0)
    of_run = result(horizon().model_copy(update={"figures": (part,)}))
    assert words_of_run(of_run)[0].startswith("The context is worth 5.0 nats a frame at 20 ms (4.0")


def test_where_every_horizon_failed_that_is_all(result):
    failed = HorizonResult(k=1, milliseconds=20.0, status="failed", errors=("no",))
    assert words_of_run(result(failed)) == ["Every horizon failed: there is nothing to say."]


def phase0(own, other, key="mean-kmeans"):
    ratios = figure("phase0_ratio", own, split="train"), figure("phase0_ratio", other)
    return horizon(figures=ratios), {"name": "lookup", "key": key, "keys": 64}


@pytest.mark.parametrize(
    ("own", "other", "verdict"),
    [
        (0.599, 0.7, "pass at 20 ms"),
        (0.6, 0.6, "fail"),
        (0.3, 0.499, "pass at 20 ms"),
        (0.3, 0.51, "fail"),
    ],
)
def test_the_rule_of_phase0_is_told_with_what_it_published(result, own, other, verdict):
    one, predictor = phase0(own, other)
    found = result(one)
    told = words_of_run(
        found.model_copy(update={"config": found.config | {"predictor": predictor}})
    )
    (sentence,) = [text for text in told if "Phase 0's rule" in text]
    assert sentence.startswith(f"By Phase 0's rule the keys {verdict}: ")
    assert f"{own:.3f} and {other:.3f} are left at 20 ms." in sentence
    assert sentence.endswith("Published: 0.997 (0.999 by permuted keys): fail.")


def test_of_other_keys_nothing_was_published(result):
    one, predictor = phase0(0.9, 0.9, key="rvq")
    found = result(one)
    told = words_of_run(
        found.model_copy(update={"config": found.config | {"predictor": predictor}})
    )
    assert not any("Published" in text for text in told)


def test_a_predictor_without_its_controls_is_told_how_to_get_them(result):
    alone = result(horizon()).model_copy(update={"stamps": (ALONE,)})
    assert "compare --predictor mdn runs them beside it" in words_of_run(alone)[0]
    assert not any("controls. latentbench" in text for text in words_of_run(result(horizon())))


def rolled(k, mode="sample", **told):
    return horizon(
        k,
        rollout=RolloutFigures(
            mode=mode,
            mean_gap=math.nan,
            median_gap=math.nan,
            n=0,
            non_finite=0,
            utterances=3,
            **told,
        ),
    )


def test_how_long_its_own_frames_live_is_said_once_for_all_that_end_alike(result):
    dying = [rolled(k, stable_depth=8 // k, dead_at=16 // k, ending="shrinks") for k in (1, 2)]
    long, dead = rolled(4, stable_depth=64), rolled(8, stable_depth=0, dead_at=1, ending="shakes")
    assert words_of_run(result(*dying, long, dead))[-1] == (
        "On its own frames, by samples: at 20 ms it is stable for 160 ms, then shrinks; at 40 ms "
        "it is stable for 80 ms, then shrinks; at 80 ms it stays alive as far as utterances go, "
        "1280 ms; at 160 ms it shakes from the first frame on."
    )
    still = [rolled(k, "mean", stable_depth=0, dead_at=1, ending="stands still") for k in (1, 2)]
    assert words_of_run(result(*still))[-1] == (
        "On its own frames, by its mean: at 20 and 40 ms it stands still from the first frame on, "
        "as a mean does."
    )
    assert not any("own frames" in text for text in words_of_run(result(rolled(1))))


def test_where_the_context_has_seen_the_target_nothing_is_said_to_be_predicted(result):
    made = result(horizon(1, leaky=True), horizon(4, (2.0, 1.0, 3.0)))
    for sight, told in (
        (2, "frames of mimi see 2 frames ahead"),
        (WHOLE_UTTERANCE, "frames of mimi see the whole utterance"),
    ):
        encoder = made.encoder.model_copy(update={"name": "mimi", "look_ahead": sight})
        first, second, *others = words_of_run(made.model_copy(update={"encoder": encoder}))
        assert first == (
            f"Nothing is predicted at 20 ms: {told}, so the context has seen the target."
        )
        assert second.startswith("The context is worth 2.0 nats a frame at 80 ms")
        assert not any("20 ms" in one for one in others)
    assert not any("worth" in one for one in words_of_run(result(horizon(1, leaky=True))))


def test_a_predictor_that_only_samples_is_not_said_to_lack_a_control(result):
    nothing = figure("nll", math.nan).model_copy(update={"n": 0, "interval_note": "samples only"})
    told = words_of_run(result(horizon(figures=(nothing,))))
    assert told[0] == "How much the context is worth is unknown: samples only."


def test_an_interval_of_no_width_tells_no_smallest_gain(result):
    assert not said(result(horizon(gain=(0.0, 0.0, 0.0))), "cannot be told from 0")


def test_a_gain_of_nothing_has_no_sign():
    context = figure("dnll_context", 0.0, 0.0, 0.0)
    gain = gain_of(HorizonResult(**dict(horizon()) | {"figures": (context,)}))
    assert {math.copysign(1.0, one) for one in (gain.value, gain.low, gain.high)} == {1.0}


def test_of_a_horizon_without_a_model_nothing_is_said(result):
    empty = horizon(k=64, figures=(), frames={"train": 0, "eval": 0}, scored={}, convergence={})
    assert words_of_run(result(horizon(), empty)) == words_of_run(result(horizon()))


@pytest.mark.parametrize(
    ("select", "kept", "end"),
    [
        ("best", 0.1, "more training.steps."),
        ("last", 0.1, "training.select=best."),
        ("last", 0.0, "training.select=best and split.validation_fraction=0.1."),
    ],
)
def test_what_is_not_fitted_is_told_what_the_run_has_not_yet(result, select, kept, end):
    made = result(horizon(fits=(CUT, DONE)))
    config = made.config | {
        "training": made.config["training"] | {"select": select},
        "split": made.config["split"] | {"validation_fraction": kept},
    }
    (told,) = said(made.model_copy(update={"config": config}), "Not fitted")
    assert told.endswith(end)


def test_what_is_not_fitted_is_not_said_to_be_unknown_as_well(result):
    unfit = horizon(fits=(UNKNOWN, UNKNOWN), capacity_on_train=4.0)
    assert not said(result(unfit), "converged is unknown")
    other = horizon(2, fits=(UNKNOWN, UNKNOWN))
    assert said(result(unfit, other), "Whether the others converged is unknown")
