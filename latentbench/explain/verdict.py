"""Judge the explanations of a run's scores by stated criteria."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from latentbench.explain.explanation import Hypothesis
from latentbench.latents.degeneracy import degeneracies

if TYPE_CHECKING:
    from latentbench.explain.explanation import Carriers, Letter, Tail
    from latentbench.results.schema import LatentFacts

__all__ = ["ADVICE", "FAR", "HEAVY", "OVER_CONFIDENT", "UNUSUAL", "judge", "unusual"]

# Half of an excess in a tenth of the contexts is five times what chance puts there.
FAR = 0.9
OVER_CONFIDENT = 3.0
HEAVY = 20.0
# 30 times what the worst 0.1 % of a normal distribution weigh, 12 times those of an exponential.
UNUSUAL = 0.1
# The worst of a million exponential draws is 16 spreads above the median, of a normal one 5.
UNHEARD_OF = 50.0
MOST = 0.5

NAMES: dict[Letter, str] = {
    "a": "extrapolation on rare contexts, over-confident",
    "b": "heavy-tailed targets",
    "c": "an artefact of the mean",
    "d": "degenerate data",
    "e": "nothing unusual",
}
ADVICE: dict[Letter, str] = {
    "a": "--predictor mdn-robust bounds what such a context can cost; the median and the trimmed "
    "mean are what the other frames score.",
    "b": "The targets need heavier tails: --predictor mdn-robust --set predictor.tails=student-t, "
    "and a baseline to match.",
    "c": "Read the median and the trimmed mean; look at the frames named above one by one.",
    "d": "Mend the latents first: no likelihood of them means anything before.",
    "e": "The mean stands for the frames.",
}

Verdict = tuple[tuple[Hypothesis, ...], "Letter", str]


def unusual(tail: Tail) -> bool:
    """Whether the worst frames move the mean further, or lie further off, than is tame."""
    return tail.weight >= UNUSUAL or tail.worst_spreads >= UNHEARD_OF


def judge(tail: Tail, carriers: Carriers, latents: LatentFacts | None) -> Verdict:
    """Judge every explanation.

    The tail is unusual where the worst 0.1 % of the frames move the mean by 0.1 spreads or
    more, the worst frame is 50 spreads or more above the median, or a frame is not finite.
    Then, of the excess of the frames that carry it:

    - (b) at least half is in frames where the baseline is 20 or more of its own spreads above
      its median as well;
    - (d) at least half is in frames that are degenerate themselves;
    - (a) at least half is in frames with a context rarer than 90 % whose target is at least
      three predicted sigmas off (root mean square over D), and (b) does not hold;
    - (c) none of the three.

    Without an unusual tail: (d) where the latents themselves are degenerate, otherwise (e).
    Latents that are degenerate count as (d) beside whatever explains the tail.

    Returns:
        The hypotheses, the letter of the one that explains the scores, and why in one sentence.
    """
    tailed = unusual(tail)
    flaws = [found for found in degeneracies(latents) if found.bounds_nothing]
    heavy = tailed and carriers.heavy >= MOST
    broken = tailed and carriers.degenerate >= MOST
    extrapolates = tailed and not heavy and carriers.extrapolated >= MOST
    holds: dict[Letter, bool] = {
        "a": extrapolates,
        "b": heavy,
        "c": tailed and not (heavy or broken or extrapolates),
        "d": broken or bool(flaws),
        "e": not tailed and not flaws,
    }
    # Of the tail where it is unusual, else of the data.
    order: tuple[Letter, ...] = ("d", "e")
    if tailed:
        order = ("d", "b", "a", "c") if broken else ("b", "a", "c")
    letter = next(one for one in order if holds[one])
    evidence = _evidence(tail, carriers, [found.sentence for found in flaws])
    raised = (
        f". {carriers.n} of {tail.n} frames, of {carriers.utterances} utterance(s), raise the mean "
        f"NLL from {_nats(tail.trimmed_mean)} to {_nats(tail.mean)}"
    )
    where = f"k = {tail.horizon}, {tail.split}"
    summary = f"{where}: {NAMES[letter]}{raised if tailed else ''}: {evidence[letter]}."
    hypotheses = tuple(
        Hypothesis(letter=one, name=name, holds=holds[one], evidence=evidence[one])
        for one, name in NAMES.items()
    )
    return hypotheses, letter, summary


def _evidence(tail: Tail, carriers: Carriers, flaws: list[str]) -> dict[Letter, str]:
    """What speaks for or against each explanation."""
    baseline = "none" if math.isnan(carriers.baseline) else f"{carriers.baseline:.1%}"
    means = f"mean {_nats(tail.mean)}, trimmed mean {_nats(tail.trimmed_mean)} nats"
    if unusual(tail):
        means = (
            f"mean {_nats(tail.mean)}, median {_nats(tail.median)}, trimmed mean "
            f"{_nats(tail.trimmed_mean)} nats; {carriers.n} frames of {carriers.utterances} "
            "utterances make the difference"
        )
    return {
        "a": f"{carriers.rare:.0%} of the excess is in contexts rarer than {FAR:.0%}, "
        f"{carriers.over_confident:.0%} in targets {OVER_CONFIDENT:g} or more sigmas off, "
        f"{carriers.extrapolated:.0%} in both; {carriers.at_clamp:.0%} has log sigma at the clamp",
        "b": f"{carriers.heavy:.0%} of the excess is in frames where the baseline is {HEAVY:g} or "
        f"more of its spreads off too; it has {baseline} of the excess there",
        "c": means,
        "d": "; ".join(
            [*flaws, f"{carriers.degenerate:.0%} of the excess is in degenerate frames"]
        ),
        "e": f"the worst 0.1 % of the frames move the mean by {_nats(tail.weight)} spreads "
        f"(unusual from {UNUSUAL:g}; a normal distribution: 0.0034); the worst one is "
        f"{_nats(tail.worst_spreads)} spreads above the median (unusual from {UNHEARD_OF:g})",
    }


def _nats(value: float) -> str:
    return f"{value:.4g}" if math.isfinite(value) else str(value)
