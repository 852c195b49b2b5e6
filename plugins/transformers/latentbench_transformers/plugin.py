"""What the distribution brings to latentbench: the encoder `hf`; imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from latentbench.hookspecs import hookimpl
from latentbench.specs import EncoderSpec

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["LATENTS", "HfOptions", "latentbench_encoders"]

LATENTS = "latents"  # as `layer`: what a codec gives its quantizer, else the last hidden state


@dataclass(frozen=True)
class HfOptions:
    """The options of `hf`."""

    model: Annotated[
        str,
        "a folder that save_pretrained wrote, or a repository of the Hugging Face Hub, "
        "e.g. microsoft/wavlm-base",
    ]
    layer: Annotated[
        int | str,
        "an index of hidden_states (0 = before the first layer, -1 = the last), the dotted name "
        "of a module, or 'latents': what a codec gives its quantizer, else the last hidden state",
    ] = LATENTS
    part: Annotated[
        str, "the model inside a composite one, e.g. semantic_tokenizer_encoder of VibeVoice"
    ] = ""
    features: Annotated[
        Literal["model", "raw"],
        "'model': as the feature extractor saved with the model prepares audio; 'raw': audio as "
        "it is, without its normalisation",
    ] = "model"
    revision: Annotated[
        str, "branch, tag or commit of the repository; only a commit pins what is loaded"
    ] = "main"
    weights: Annotated[
        Literal["pretrained", "random"], "those of the model, or random (a control)"
    ] = "pretrained"
    weights_seed: Annotated[int, "which random weights"] = 0


@hookimpl
def latentbench_encoders() -> Iterable[EncoderSpec]:
    """Yield the one encoder that is any model."""
    yield EncoderSpec(
        name="hf",
        summary="Any audio model of transformers, by name or folder and layer",
        factory="latentbench_transformers.encoder:HfEncoder",
        options=HfOptions,
        weights_licence="the model's own",
    )
