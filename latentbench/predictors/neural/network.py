"""The predictor `neural`: a backbone and a head, put together."""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import numpy as np
import torch

from latentbench.errors import UsageError
from latentbench.predictors.neural.backbones import FlattenedWindow, RecurrentWindow, Transformer
from latentbench.predictors.neural.options import DENSITIES, HEADS
from latentbench.predictors.sequences import SequencePredictor
from latentbench.predictors.standardised import Rescaled, StandardisedPredictor
from latentbench.predictors.training import train

if TYPE_CHECKING:
    from torch import nn

    from latentbench.predictors.neural.backbones import Memory
    from latentbench.predictors.neural.head import Head
    from latentbench.predictors.neural.options import NeuralOptions
    from latentbench.predictors.training import Training
    from latentbench.tasks import TaskFrames

__all__ = ["NeuralPredictor", "UtterancePredictor", "WindowPredictor", "neural"]

REMARK_FRAMES = 64


class NeuralPredictor(StandardisedPredictor, ABC):
    """Standardised frames through a backbone to a state, and through a head to a density.

    Contexts and targets are standardised as in `mdn-robust`, the density with its exact
    Jacobian. `context_noise` and `noise_mix` change contexts in training only: the latter mixes
    noise in, sqrt(kappa) e + sqrt(1 - kappa) x, with kappa ~ U(0, noise_mix) drawn per context
    (CALM, arXiv 2509.06926, §3.3).
    """

    options: NeuralOptions
    backbone: nn.Module

    def __init__(self, options: NeuralOptions, *, context_frames: int, dim: int) -> None:
        super().__init__(options, context_frames=context_frames, dim=dim)
        self.density = DENSITIES[options.head]
        self.backbone = self.make_backbone()
        module, _, name = HEADS[options.head].partition(":")
        made = getattr(importlib.import_module(module), name)
        self.head: Head = made(options, width=options.width, dim=dim)
        self.loss_name = "NLL" if self.head.by_likelihood else "loss"

    @abstractmethod
    def make_backbone(self) -> nn.Module:
        """The module from standardised frames to states of `width`."""

    def fit(self, train_frames: TaskFrames, training: Training) -> None:
        """Standardise by the training frames, then minimise the loss of the head.

        Raises:
            LatentbenchError: fewer than two frames, frames that are not finite, or training
                diverged.
        """
        self.standardise_by(train_frames, "neural")
        train(self, train_frames, training)
        which = np.linspace(0, len(train_frames) - 1, REMARK_FRAMES).astype(np.int64)
        batch = train_frames.batch(which)
        with torch.no_grad():
            states = self.states(batch.context.to(training.device))
            last = states.reshape(len(which), -1, self.options.width)[:, -1]
            remark = self.head.remark(last, self._targets(batch.target.to(training.device)))
        if remark:
            training.progress.say(remark)

    def states(self, context: torch.Tensor) -> torch.Tensor:
        """What the backbone makes of frames [B, T, D]: states of `width`, of each or of all."""
        states: torch.Tensor = self.backbone(self.standardised(context))
        return states

    def noisy(self, scaled: torch.Tensor) -> torch.Tensor:
        """The standardised context with the noise of training."""
        scaled = super().noisy(scaled)
        if self.options.noise_mix:
            shape = (*scaled.shape[:-2], 1, 1)
            kappa = self.options.noise_mix * torch.rand(shape, device=scaled.device)
            mixed = kappa.sqrt() * torch.randn_like(scaled)
            scaled = mixed + (1.0 - kappa).sqrt() * scaled
        return scaled

    def density_of(self, states: torch.Tensor) -> Rescaled:
        """The density of the target given states [..., width], batch [...]."""
        return Rescaled(self.head(states.float()), self.target_mean, self.target_scale)

    def state_loss(self, states: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The head's loss of states [N, width] and targets [N, D]; an NLL in units of targets.

        The head computes in float32 also where the backbone does not.
        """
        with torch.autocast(target.device.type, enabled=False):
            loss = self.head.loss(states.float(), self._targets(target))
        if self.head.by_likelihood:
            loss = loss + self.target_scale.log().sum()
        return loss.float()

    def _targets(self, target: torch.Tensor) -> torch.Tensor:
        return ((target - self.target_mean) / self.target_scale).float()


class WindowPredictor(NeuralPredictor):
    """`neural` with a backbone that reads the window of each frame by itself."""

    def make_backbone(self) -> nn.Module:
        """The network that `backbone` names."""
        size = {"width": self.options.width, "layers": self.options.backbone_layers}
        if self.options.backbone == "gru":
            return RecurrentWindow(self.dim, **size)
        return FlattenedWindow(self.context_frames, self.dim, **size)

    def forward(self, context: torch.Tensor) -> Rescaled:
        """The density of each window, [B, W, D]."""
        return self.density_of(self.states(context))

    def loss(self, context: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The head's loss."""
        return self.state_loss(self.states(context), target)


class UtterancePredictor(NeuralPredictor, SequencePredictor):
    """`neural` with a transformer, which reads all frames of an utterance at once."""

    backbone: Transformer

    @property
    def reach(self) -> int:
        """Frames that a density depends on."""
        wide = self.options.context == "utterance"
        return max(self.context_frames, self.options.reach) if wide else self.context_frames

    def make_backbone(self) -> Transformer:
        """The transformer.

        Raises:
            UsageError: the width does not divide into pairs among the attention heads.
        """
        options = self.options
        if options.width % (2 * options.attention_heads):
            raise UsageError(
                f"predictor.width={options.width} is no multiple of twice "
                f"predictor.attention_heads={options.attention_heads}.",
                "The rotation of the attention works on pairs of units in each of its heads.",
            )
        return Transformer(
            self.dim,
            width=options.width,
            layers=options.backbone_layers,
            heads=options.attention_heads,
            reach=self.reach,
        )

    def go_on(self, frames: torch.Tensor, memory: Memory | None) -> tuple[torch.Tensor, Memory]:
        """The state at each of T more frames; keys and values of those before are kept."""
        return self.backbone.go_on(self.standardised(frames), memory)


def neural(options: NeuralOptions, *, context_frames: int, dim: int) -> NeuralPredictor:
    """The predictor of these options, for windows [B, W, D]."""
    kind = UtterancePredictor if options.backbone == "transformer" else WindowPredictor
    return kind(options, context_frames=context_frames, dim=dim)
