"""From a configuration to the card of its encoder."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

from latentbench.cards.card import Card
from latentbench.cards.predictable import predictable
from latentbench.cards.probes import heard_of
from latentbench.cards.statistics import sample, statistics_of
from latentbench.config import build_options
from latentbench.conformance.audio import EncoderSubject
from latentbench.encoders import WHOLE_UTTERANCE
from latentbench.experiment import encode_corpus
from latentbench.latents.degeneracy import check_latents, degeneracies

if TYPE_CHECKING:
    from latentbench.cards.card import Heard
    from latentbench.config import RunConfig
    from latentbench.experiment import EncodedCorpus
    from latentbench.plugins import Registry
    from latentbench.workspace import Workspace

__all__ = ["make_card"]


def make_card(config: RunConfig, workspace: Workspace, registry: Registry) -> Card:
    """Encode what is missing, and describe the latents.

    Args:
        config: whose encoder, corpus, utterances and split count.
        workspace: whose cache holds the latents.
        registry: where the components are.

    Raises:
        UsageError: the corpus or the encoder cannot be used as configured.
        LatentbenchError: the latents cannot be had.
    """
    encoded = encode_corpus(config, workspace, registry)
    encoder = encoded.encoder
    latents, sides = encoded.open()
    sampled = {name: sample(latents, side) for name, side in sides.items()}
    everything = sorted(index for side in sampled.values() for index in side)
    facts = check_latents(latents, latents, everything)
    return Card(
        encoder=config.encoder.name,
        corpus=config.corpus.name,
        options=_options(build_options(config.encoder, "encoder", registry)),
        stamps=tuple(encoder.stamps),
        fingerprint=dict(encoder.fingerprint()),
        sample_rate=encoder.sample_rate,
        channels=encoder.channels,
        hop=encoder.hop,
        dim=encoder.dim,
        frame_rate=encoder.frame_rate,
        look_ahead=encoder.look_ahead,
        sees_all=encoder.look_ahead == WHOLE_UTTERANCE,
        statistics=statistics_of(latents, everything),
        facts=facts,
        warnings=tuple(one.sentence for one in degeneracies(facts)),
        predictable=predictable(latents, sampled),
        heard=_heard(config, encoded, workspace, registry),
        sampled=f"{config.split.by}s",
    )


def _options(given: Any) -> dict[str, str]:
    """What differs from the defaults, of the options of the encoder."""
    known = fields(given) if is_dataclass(given) else ()
    values = {one.name: (getattr(given, one.name), one.default) for one in known}
    return {name: str(value) for name, (value, usual) in values.items() if value != usual}


def _heard(
    config: RunConfig, encoded: EncodedCorpus, workspace: Workspace, registry: Registry
) -> Heard | None:
    if encoded.audio.corpus.latents is not None:
        return None
    options = build_options(config.encoder, "encoder", registry)
    component = registry.get("encoder", config.encoder.name)
    return heard_of(EncoderSubject(component, options, workspace), encoded.audio.utterances)
