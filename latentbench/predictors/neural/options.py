"""Options of `neural`, and which heads there are; loads nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from annotated_types import Ge, Gt, Le, Lt

from latentbench.specs import AFTER_FIT

if TYPE_CHECKING:
    from latentbench.specs import Density

__all__ = ["DENSITIES", "HEADS", "NeuralOptions"]

_HERE = "latentbench.predictors.neural"

HEADS: dict[str, str] = {
    "gaussian": f"{_HERE}.mixtures:GaussianHead",
    "mdn": f"{_HERE}.mixtures:MixtureHead",
    "student": f"{_HERE}.mixtures:StudentHead",
    "flow": f"{_HERE}.flows:SplineFlowHead",
    "flow-matching": f"{_HERE}.flows:FlowMatchingHead",
    "vmf": f"{_HERE}.directional:DirectionalHead",
    "latent": f"{_HERE}.latent:LatentHead",
    "energy": f"{_HERE}.samplers:EnergyHead",
    "lsd": f"{_HERE}.samplers:SelfDistilledHead",
    "diffusion": f"{_HERE}.samplers:DiffusionHead",
    "denoiser": f"{_HERE}.samplers:DenoiserHead",
}

SAMPLERS = ("energy", "lsd", "diffusion", "denoiser")
BOUNDS = ("latent",)
DENSITIES: dict[str, Density] = {
    head: "samples" if head in SAMPLERS else "bound" if head in BOUNDS else "exact"
    for head in HEADS
}

# Recurrent layers cost one step after another. lsd's source has so many blocks, of 512 units;
# energy computes each block for every one of its samples.
BACKBONE_LAYERS: dict[str, int] = {"gru": 1}
USUAL_BACKBONE_LAYERS = 2
HEAD_LAYERS: dict[str, int] = {"lsd": 6, "energy": 2}
USUAL_HEAD_LAYERS = 3

# Steps from noise to sample. Those of diffusion are first-order, those of flow-matching fourth.
STEPS: dict[str, int] = {"diffusion": 32, "flow-matching": 8}

Head = Literal[
    "gaussian",
    "mdn",
    "student",
    "flow",
    "flow-matching",
    "vmf",
    "latent",
    "energy",
    "lsd",
    "diffusion",
    "denoiser",
]


@dataclass(frozen=True)
class NeuralOptions:
    """Options of `neural`; a head takes those it needs."""

    backbone: Annotated[
        Literal["mlp", "gru", "transformer"], "what reads the context: its window, or utterances"
    ] = "mlp"
    head: Annotated[Head, "what gives the density"] = "mdn"
    width: Annotated[int, Gt(0), "units of the backbone's layers"] = 256
    layers: Annotated[int | None, Gt(0), "layers of the backbone; by default 1 of gru, else 2"] = (
        None
    )
    attention_heads: Annotated[int, Gt(0), "heads of the transformer's attention"] = 4
    context: Annotated[
        Literal["window", "utterance"],
        "how far the transformer sees: task.context_frames, or to the start of the utterance",
    ] = "window"
    reach: Annotated[int, Gt(0), "most frames the transformer sees with context=utterance"] = 512
    floor: Annotated[float, Gt(0), "smallest variance of a dimension of the targets"] = 1e-6
    clip: Annotated[float, Gt(0), "bound of the standardised context"] = 5.0
    context_noise: Annotated[
        float, Ge(0), "noise on standardised contexts in training, standard deviation"
    ] = 0.0
    noise_mix: Annotated[
        float, Ge(0), Le(1), "largest share kappa of noise mixed into contexts in training"
    ] = 0.0
    components: Annotated[int, Gt(0), "learned components of mdn and student, K"] = 8
    sigma_floor: Annotated[float, Gt(0), Lt(1), "smallest sigma, relative to the marginal's"] = 0.01
    marginal_weight: Annotated[
        float, Gt(0), Lt(1), "smallest weight of the marginal in mdn and student"
    ] = 1e-3
    transforms: Annotated[int, Gt(0), "coupling layers of flow"] = 3
    bins: Annotated[int, Gt(1), "bins of the splines of flow"] = 8
    head_width: Annotated[int, Gt(0), "units of the network inside the head"] = 256
    head_layers: Annotated[
        int | None,
        Gt(0),
        "residual blocks inside the head; by default 6 for lsd, 2 for energy, else 3",
    ] = None
    samples: Annotated[int, Gt(1), "samples per frame in the loss of energy"] = 8
    draws: Annotated[
        int,
        Gt(0),
        AFTER_FIT,
        "innovations per scored frame of latent, K; 1 is the evidence lower bound",
    ] = 16
    temperature: Annotated[
        float, Ge(0), AFTER_FIT, "variance of the noise that lsd samples from"
    ] = 1.0
    steps: Annotated[
        int | None,
        Gt(0),
        AFTER_FIT,
        "from noise to sample; by default 8 for flow-matching, 32 for diffusion",
    ] = None
    probes: Annotated[
        int,
        Gt(1),
        AFTER_FIT,
        "Hutchinson probes of flow-matching's trace above twice as many dimensions",
    ] = 8

    @property
    def backbone_layers(self) -> int:
        """Layers of the backbone."""
        return self.layers or BACKBONE_LAYERS.get(self.backbone, USUAL_BACKBONE_LAYERS)

    @property
    def head_blocks(self) -> int:
        """Residual blocks of the network inside the head."""
        return self.head_layers or HEAD_LAYERS.get(self.head, USUAL_HEAD_LAYERS)

    @property
    def sampling_steps(self) -> int:
        """From noise to sample; 1 for heads that take one."""
        return self.steps or STEPS.get(self.head, 1)
