"""Which horizons of a run may be quoted and ranked, and why the others may not."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from latentbench.errors import counted

if TYPE_CHECKING:
    from latentbench.results.schema import Figure, HorizonResult, Result

__all__ = [
    "BOUND",
    "FEWEST_SPEAKERS",
    "FEW_NUMBERS",
    "NOT_FITTED",
    "gain_of",
    "no_nll",
    "not_fitted",
    "sampled",
    "scored_speakers",
    "withheld",
    "worded",
]

FEWEST_SPEAKERS = 4
FEW_NUMBERS = "fewer numbers to train on than parameters"
# The note of a horizon whose model gives no more.
BOUND = "the predictor bounds its NLL from above: the true one may be lower"
NOT_FITTED = "not fitted"
UNCONDITIONAL = "unconditional"
# Of a gain: a control that loses more of it against the mere marginal was not fitted.
LOST = 0.1
ALL = "all"


def gain_of(horizon: HorizonResult, split: str = "eval") -> Figure | None:
    """What the context is worth, nats per frame, positive is good.

    From `gain`, or from `dnll_context` with its sign turned; None where the control without a
    context was not fitted or nothing was scored.
    """
    if (found := horizon.find(split, ALL, "gain")) is not None and found.n:
        return found
    turned = horizon.find(split, ALL, "dnll_context")
    if turned is None or not turned.n:
        return None
    return turned.model_copy(
        update={
            "name": "gain",
            "better": "higher",
            "value": 0.0 - turned.value,  # of nothing there is no negative zero
            "low": None if turned.high is None else 0.0 - turned.high,
            "high": None if turned.low is None else 0.0 - turned.low,
        }
    )


def no_nll(horizon: HorizonResult) -> str:
    """Why its predictor has no NLL; empty where it has one."""
    nll = horizon.find("eval", ALL, "nll")
    return "" if nll is None or nll.n else nll.interval_note


def sampled(result: Result) -> str:
    """What the eval side is a sample of, in a word: `speakers`, or `files` of the same ones."""
    return f"{result.config['split'].get('by', 'speaker')}s"


def worded(text: str, by: str) -> str:
    """A text that speaks of speakers, by what a run is split by: `speaker`, or `file`."""
    return text.replace("speaker", by).replace("Speaker", by.capitalize())


def scored_speakers(result: Result, horizon: HorizonResult) -> int:
    """How many eval speakers have a scored frame; `evaluation.max_frames` may leave some out.

    Of an older result, which does not say, and of a horizon without figures: all of eval.
    """
    told = max((one.speakers for one in horizon.figures if one.split == "eval"), default=0)
    return told or len(result.corpus.speakers.get("eval", ()))


def withheld(result: Result, horizon: HorizonResult) -> tuple[str, ...]:
    """Why the gain of a horizon takes no part in a comparison; empty where it does.

    The first reason is the gravest. `not fitted` means that its numbers are of models that were
    still learning, and say nothing of the latents.
    """
    reasons = []
    if not_fitted(horizon):
        reasons.append(NOT_FITTED)
    if horizon.leaky:
        reasons.append("leaky")
    if (speakers := scored_speakers(result, horizon)) < FEWEST_SPEAKERS:
        whose = counted(speakers, f"eval {sampled(result)[:-1]}")
        reasons.append(f"{whose}, at least {FEWEST_SPEAKERS} are needed")
    if 0 < horizon.frames.get("train", 0) * horizon.dim < horizon.parameters:
        reasons.append(FEW_NUMBERS)
    gain = gain_of(horizon)
    if gain is not None and gain.high is not None and gain.high < 0:
        reasons.append("no information found by this model")
    return tuple(reasons)


def not_fitted(horizon: HorizonResult) -> bool:
    """A training that ended before it converged, or a control that misses the mere marginal.

    The latter is how a control shows that it was not trained for long enough where there was no
    validation to tell: what it loses against the marginal counts as gain. Closed forms are fitted.
    """
    if any(one.converged is False for ones in horizon.convergence.values() for one in ones):
        return True
    told = horizon.convergence.get(UNCONDITIONAL, ())
    if any(one.converged for one in told):
        return False
    gain, capacity = gain_of(horizon, "train"), horizon.find("train", ALL, "dnll_capacity")
    if not horizon.steps or gain is None or capacity is None or not capacity.n:
        return False
    lost = capacity.value
    return math.isnan(lost) or lost > LOST * max(gain.value, 0.0) > 0.0
