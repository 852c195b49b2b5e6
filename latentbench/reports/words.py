"""What a run says, in words: rules from its figures to a few plain sentences.

Every sentence follows from the figures by a threshold that stands here and is tested on both of
its sides. Nothing is said that the intervals do not carry.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from latentbench.encoders.encoder import WHOLE_UTTERANCE
from latentbench.metrics.units import is_rate, scale
from latentbench.reports.columns import listed, number_text, time_text
from latentbench.results.schema import ALONE
from latentbench.results.standing import gain_of, no_nll, not_fitted, sampled, scored_speakers

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from latentbench.results.schema import Figure, HorizonResult, Result, RolloutFigures

__all__ = ["TITLE", "words_of_run"]

TITLE = "What this says"
ALL = "all"
# Of ΔNLL: from here on most of it was won without a context.
MOSTLY = 0.5
# Of a gain on eval: what is lost against train beyond it is called overfitting.
OVERFIT = 1.0 / 3.0
FEW_BITS = 10.0  # a second, below which a decimal is told
# Phase 0's rule, and what it published: key and count -> left by keys and by permuted keys.
PASS, LOST = 0.6, 0.2
PUBLISHED = {("mean-kmeans", 64): ("0.997", "0.999"), ("pca-kmeans", 256): ("0.988", "0.995")}


def words_of_run(result: Result) -> list[str]:
    """Three to six sentences: what the context is worth, how sure that is, what is in ΔNLL.

    Args:
        result: of a run; of horizons that failed nothing is said.
    """
    done = [one for one in result.horizons if one.seeds]
    if not done:
        return ["Every horizon failed: there is nothing to say."]
    usable = [one for one in done if one.fitted and not (not_fitted(one) or one.leaky)]
    sentences = [*_leaky(result, done), *_alone(result), *_not_fitted(result, done)]
    if usable:
        sentences += _worth(result, usable)
        sentences += _split(usable)
        sentences += _overfits(result, usable)
        sentences += _smallest(result, usable)
    sentences += _phase0(result, done)
    sentences += _convergence(result, done)
    sentences += _rollout(done)
    return sentences


def _leaky(result: Result, done: Sequence[HorizonResult]) -> Iterator[str]:
    if leaky := [one for one in done if one.leaky]:
        encoder = result.encoder
        ahead = "" if encoder.look_ahead == WHOLE_UTTERANCE else " ahead"
        yield (
            f"Nothing is predicted at {_times(leaky)}: frames of {encoder.name} see "
            f"{encoder.sight}{ahead}, so the context has seen the target."
        )


def _not_fitted(result: Result, done: Sequence[HorizonResult]) -> Iterator[str]:
    unfit = [one for one in done if not_fitted(one)]
    if unfit:
        yield (
            f"Not fitted at {_times(unfit)}: a model or its control was still learning when its "
            "training ended, so its figures say nothing of the latents. Give it more "
            f"training.steps{_chosen_by(result)}."
        )


def _chosen_by(result: Result) -> str:
    """What else a longer training needs: to stop, it must be chosen by speakers kept apart."""
    if result.config["training"].get("select") == "best":
        return ""
    kept = result.config["split"].get("validation_fraction")
    return f", with training.select=best{'' if kept else ' and split.validation_fraction=0.1'}"


def _alone(result: Result) -> Iterator[str]:
    if ALONE in result.stamps:
        name = result.config["predictor"]["name"]
        yield (
            f"What {name} has beside its network is not shown to help: it stands here without its "
            f"controls. latentbench compare --predictor {name} runs them beside it, in one table."
        )


def _phase0(result: Result, done: Sequence[HorizonResult]) -> Iterator[str]:
    """Phase 0's verdict, where its variance ratio was measured."""
    found = [(one, *_ratios(one)) for one in done]
    found = [one for one in found if one[1] is not None and one[2] is not None]
    if not found:
        return
    passed = [one for one, own, other in found if own < PASS and other - own <= LOST]
    verdict = f"pass at {_times(passed)}" if passed else "fail"
    first, own, other = found[0]
    predictor = result.config["predictor"]
    row = PUBLISHED.get((predictor.get("key"), predictor.get("keys")))
    beside = f" Published: {row[0]} ({row[1]} by permuted keys): fail." if row else ""
    yield (
        f"By Phase 0's rule the keys {verdict}: less than {PASS} of the variance on train has to "
        f"be left, and at most {LOST:.2f} lost on other {sampled(result)}. {own:.3f} and "
        f"{other:.3f} are left at {_time(first)}.{beside}"
    )


def _ratios(horizon: HorizonResult) -> tuple[float, float] | tuple[None, None]:
    """What is left on train and on eval; None where that was not measured."""
    own, other = (horizon.find(one, ALL, "phase0_ratio") for one in ("train", "eval"))
    if own is None or other is None or not own.n or not other.n:
        return None, None
    return own.value, other.value


def _worth(result: Result, usable: Sequence[HorizonResult]) -> Iterator[str]:
    """The gain at each staleness, or that there is none."""
    gains = [(one, gain) for one in usable if (gain := gain_of(one)) is not None]
    if not gains:
        control = "the control without a context was not fitted (controls=[unconditional])"
        reasons = dict.fromkeys(no_nll(one) or control for one in usable)
        yield f"How much the context is worth is unknown: {'; '.join(reasons)}."
        return
    sure = [(one, gain) for one, gain in gains if _above_zero(gain)]
    others = [one for one, gain in gains if _holds_zero(gain)]
    unknown = [(one, gain) for one, gain in gains if gain.low is None]
    worse = [one for one, gain in gains if _below_zero(gain)]
    if sure:
        told = "; ".join(
            f"{'' if number else 'The context is worth '}{_nats(gain)}"
            f"{'' if number else ' nats a frame'} at {_time(one)}{_bounds(gain)}"
            for number, (one, gain) in enumerate(sure)
        )
        yield f"{told}{_rate(result, sure)}."
    if others:
        before = "No information was found" if not sure else "Nothing that can be told from 0"
        yield f"{before} at {_times(others)}: the interval of the gain holds 0."
    if unknown:
        told = "; ".join(f"{_nats(gain)} at {_time(one)}" for one, gain in unknown)
        why = dict.fromkeys(gain.interval_note for _, gain in unknown if gain.interval_note)
        yield (
            f"Whether the context is worth anything is unknown where the gain has no interval: "
            f"{told} ({'; '.join(why) or 'none was computed'})."
        )
    if worse:
        yield (
            f"No information was found by this model at {_times(worse)}: it predicts new "
            f"{sampled(result)} worse with the context than without."
        )


def _split(usable: Sequence[HorizonResult]) -> Iterator[str]:
    """How much of ΔNLL was capacity and floor, at the smallest staleness."""
    first = usable[0]
    found = (first.find("eval", ALL, name) for name in ("dnll", "dnll_capacity"))
    dnll, capacity = found
    if dnll is None or capacity is None or not dnll.n or not capacity.n:
        return
    if not (math.isfinite(dnll.value) and math.isfinite(capacity.value)) or dnll.value >= 0:
        return
    share = capacity.value / dnll.value
    floor = (
        f" White latents would score {number_text(first.iid_floor, 1)}." if first.iid_floor else ""
    )
    if share > 1.0:
        yield (
            f"ΔNLL is {_nats(dnll)} at {_time(first)}, and {_nats(capacity)} is won without any "
            f"context: all of it is the shape of the marginal, none is prediction.{floor}"
        )
    elif share >= MOSTLY:
        yield (
            f"Of ΔNLL {_nats(dnll)} at {_time(first)}, {_nats(capacity)} was won without any "
            f"context: most of it is the shape of the marginal, not prediction.{floor}"
        )
    elif floor:
        yield f"ΔNLL is {_nats(dnll)} at {_time(first)}.{floor}"


def _overfits(result: Result, usable: Sequence[HorizonResult]) -> Iterator[str]:
    whose = sampled(result)
    ends = {
        "overfits": f". More {whose} would help more than a larger network.",
        "may overfit": f", which so few new {whose} leave open.",
    }
    found: dict[str, list[HorizonResult]] = {verb: [] for verb in ends}
    for one in usable:
        ours, theirs = gain_of(one), gain_of(one, "train")
        if ours is None or theirs is None or not _above_zero(theirs):
            continue
        if ours.value < (1.0 - OVERFIT) * theirs.value:
            found["overfits" if _told_less(ours, theirs) else "may overfit"].append(one)
    for verb, ones in found.items():
        if ones:
            yield (
                f"It {verb} at {_times(ones)}: on the {whose} it was trained on the context is "
                f"worth {_nats(_gain(ones[0], 'train'))} nats at {_time(ones[0])}, on new ones "
                f"{_nats(_gain(ones[0]))}{ends[verb]}"
            )


def _told_less(ours: Figure, theirs: Figure) -> bool:
    """Whether a gain is below another of other speakers beyond the interval of the difference.

    By the square-and-add of both intervals (Newcombe 1998; MOVER, Zou & Donner 2008).
    """
    if ours.high is None or theirs.low is None:
        return False
    return theirs.value - ours.value > math.hypot(theirs.value - theirs.low, ours.high - ours.value)


def _smallest(result: Result, usable: Sequence[HorizonResult]) -> Iterator[str]:
    """The smallest gain that so many speakers can show: half the width of its interval."""
    widths = [
        ((gain.high - gain.low) / 2.0, scored_speakers(result, one))
        for one in usable
        if (gain := gain_of(one)) is not None and gain.low is not None and gain.high is not None
        if 0.0 < gain.high - gain.low < math.inf
    ]
    if widths:
        widest, speakers = max(widths)
        yield (
            f"With {speakers} eval {sampled(result)} a gain below about "
            f"{number_text(widest, 1)} nats cannot be told from 0."
        )


def _convergence(result: Result, done: Sequence[HorizonResult]) -> Iterator[str]:
    told = [one for found in done for ones in found.convergence.values() for one in ones]
    if not told:
        return
    if all(one.converged for one in told):
        counts = sorted({one.steps for one in told})
        steps = " to ".join(f"{one:,}" for one in dict.fromkeys((counts[0], counts[-1])))
        yield f"Every network converged, after {steps} steps."
    elif all(one.converged is None for one in told) and not all(map(not_fitted, done)):
        whose = "others" if any(map(not_fitted, done)) else "networks"
        yield (
            f"Whether the {whose} converged is unknown: no {sampled(result)} were kept for "
            "validation (split.validation_fraction)."
        )


def _rollout(done: Sequence[HorizonResult]) -> Iterator[str]:
    rolled = [one for one in done if one.rollout is not None and one.rollout.n]
    if broken := [one for one in rolled if one.rollout is not None and one.rollout.non_finite]:
        yield f"Rolled out on its own frames it diverges at {_times(broken)}."
    fates: dict[str, list[HorizonResult]] = {}
    for one in done:
        if one.rollout is not None and one.rollout.stable_depth is not None:
            fates.setdefault(_fate(one, one.rollout), []).append(one)
    if fates:
        told = "; ".join(f"at {_times(ones)} {fate}" for fate, ones in fates.items())
        by = "samples" if done[0].rollout and done[0].rollout.mode == "sample" else "its mean"
        yield f"On its own frames, by {by}: {told}."


def _fate(horizon: HorizonResult, rollout: RolloutFigures) -> str:
    """Until when a rollout moves and varies as true frames do, and how it ends."""
    until = f"{time_text((rollout.stable_depth or 0) * horizon.milliseconds / horizon.k)} ms"
    if rollout.ending is None:
        return f"it stays alive as far as utterances go, {until}"
    why = ", as a mean does" if (rollout.mode, rollout.ending) == ("mean", "stands still") else ""
    if not rollout.stable_depth:
        return f"it {rollout.ending} from the first frame on{why}"
    return f"it is stable for {until}, then {rollout.ending}{why}"


def _gain(horizon: HorizonResult, split: str = "eval") -> Figure:
    found = gain_of(horizon, split)
    assert found is not None  # noqa: S101 - it was looked at before
    return found


def _above_zero(gain: Figure) -> bool:
    return gain.low is not None and gain.low > 0.0


def _holds_zero(gain: Figure) -> bool:
    return gain.low is not None and not _above_zero(gain) and not _below_zero(gain)


def _below_zero(gain: Figure) -> bool:
    return gain.high is not None and gain.high < 0.0


def _nats(figure: Figure) -> str:
    return number_text(figure.value, 1)


def _bounds(figure: Figure) -> str:
    if figure.low is None or figure.high is None:
        return ""
    return f" ({number_text(figure.low, 1)} to {number_text(figure.high, 1)})"


def _rate(result: Result, sure: Sequence[tuple[HorizonResult, Figure]]) -> str:
    horizon, gain = sure[0]
    hertz = result.encoder.frame_rate
    if not is_rate("gain", target=result.config["task"]["target"], horizon=horizon.k):
        return ""
    kbps = scale(gain.value, dim=horizon.dim, frame_rate=hertz, rate=True).kbps
    bits = 1000 * (kbps or 0.0)
    shown = f"{bits:,.0f}" if bits >= FEW_BITS else number_text(bits, 1)
    return f", {shown} bits a second at {_time(horizon)}"


def _time(horizon: HorizonResult) -> str:
    return f"{time_text(horizon.milliseconds)} ms"


def _times(horizons: Sequence[HorizonResult]) -> str:
    """`20, 40 and 80 ms`."""
    return f"{listed([time_text(one.milliseconds) for one in horizons])} ms"
