"""The optimal predictor of a world, as a predictor: what is then off is the instrument."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import torch
from pydantic import TypeAdapter, ValidationError
from torch.distributions import Distribution

from latentbench.errors import UsageError
from latentbench.predictors import Predictor
from latentbench.predictors.mixture import DiagonalGaussianMixture
from latentbench.worlds.catalogue import build_world, world_options
from latentbench.worlds.gaussian import LinearGaussian
from latentbench.worlds.hidden import HiddenChain

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from latentbench.predictors import Training
    from latentbench.tasks import TaskFrames
    from latentbench.worlds.plugin import ExactOptions
    from latentbench.worlds.world import Target, World

__all__ = ["CopiedGaussian", "ExactGaussian", "ExactMixture", "exact", "optimal_predictor"]

Shape: TypeAlias = "torch.Size | list[int] | tuple[int, ...]"

LOG_2PI = math.log(2.0 * math.pi)


def exact(options: ExactOptions, *, context_frames: int, dim: int) -> Predictor:
    """The optimal predictor of the world that the options name.

    Raises:
        UsageError: there is no such world, or its parameters are none.
    """
    try:
        parameters = TypeAdapter(world_options(options.world)).validate_python(
            {"dim": dim, **options.parameters}
        )
    except ValidationError as error:
        problem = error.errors()[0]
        raise UsageError(
            f"predictor.parameters of the world '{options.world}': "
            f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}.",
            f"'latentbench plugins show world:{options.world}' lists its options.",
        ) from None
    if parameters.dim != dim:
        raise UsageError(
            f"predictor.parameters says dim={parameters.dim}; the latents have {dim} dimensions.",
            "Give the corpus and the predictor the same world.",
        )
    return optimal_predictor(build_world(parameters), context_frames=context_frames)


def optimal_predictor(world: World, *, context_frames: int) -> Predictor:
    """The optimal predictor; `fit` only takes horizon and target from the frames it is shown.

    Raises:
        TypeError: a kind of world without one.
    """
    if isinstance(world, LinearGaussian):
        return ExactGaussian(world, context_frames=context_frames)
    if isinstance(world, HiddenChain):
        return ExactMixture(world, context_frames=context_frames)
    raise TypeError(f"no optimal predictor is known of {type(world).__name__}")


class _Exact(Predictor):
    """What both have in common: densities in float64, and nothing to learn."""

    def __init__(self, context_frames: int, dim: int) -> None:
        super().__init__()
        self.context_frames = context_frames
        self.dim = dim

    def _hold(self, **arrays: NDArray[np.floating]) -> None:
        for name, array in arrays.items():
            self.register_buffer(name, torch.from_numpy(np.ascontiguousarray(array)))

    def _put(self, device: torch.device, **arrays: NDArray[np.floating]) -> None:
        self.to(device)
        for name, array in arrays.items():
            self.get_buffer(name).copy_(torch.from_numpy(np.ascontiguousarray(array)))


class ExactGaussian(_Exact):
    """N(K c, S_k), copy by copy of the process; without context N(0, S).

    Args:
        world: linear and Gaussian.
        context_frames: W.
    """

    gain: torch.Tensor
    scale: torch.Tensor
    whitening: torch.Tensor

    def __init__(self, world: LinearGaussian, *, context_frames: int) -> None:
        super().__init__(context_frames, world.dim)
        self._world = world
        width = world.width
        self._hold(
            gain=np.zeros((width, context_frames * width)),
            scale=np.eye(width),
            whitening=np.eye(width),
        )

    def fit(self, train: TaskFrames, training: Training) -> None:
        """Take gain and residual from the world.

        Raises:
            UsageError: a delta over more than one frame.
        """
        _require_one_step(train)
        found = self._world.conditional(train.horizon, self.context_frames, _target(train))
        scale = np.linalg.cholesky(found.total if train.blind else found.residual)
        self._put(
            training.device,
            gain=0 * found.gain if train.blind else found.gain,
            scale=scale,
            whitening=np.linalg.inv(scale),
        )

    def forward(self, context: torch.Tensor) -> CopiedGaussian:
        """The conditional of each context, [B, W, D]."""
        batch, width = context.shape[0], self._world.width
        copies = context.double().view(batch, self.context_frames, -1, width)
        mean = copies.transpose(1, 2).flatten(-2) @ self.gain.T
        return CopiedGaussian(mean, self.scale, self.whitening)


class CopiedGaussian(Distribution):
    """Independent groups of dimensions, each Gaussian with the same covariance L Lᵀ.

    Args:
        mean: float64 [B, copies, d]; D = copies * d.
        scale: L, [d, d], lower triangular.
        whitening: its inverse.
    """

    arg_constraints = {}  # noqa: RUF012 - torch's own declaration of this attribute

    def __init__(self, mean: torch.Tensor, scale: torch.Tensor, whitening: torch.Tensor) -> None:
        self._mean = mean
        self._scale = scale
        self._whitening = whitening
        shape = torch.Size([mean.shape[-2] * mean.shape[-1]])
        super().__init__(mean.shape[:-2], shape, validate_args=False)

    @property
    def mean(self) -> torch.Tensor:
        """[B, D]."""
        return self._mean.flatten(-2)

    @property
    def mode_component(self) -> torch.Tensor:
        """The mean of its only component, [B, D]."""
        return self.mean

    def log_prob(self, value: torch.Tensor) -> torch.Tensor:
        """Nats per frame, [B], for values [B, D]."""
        error = value.double().view(*value.shape[:-1], *self._mean.shape[-2:]) - self._mean
        squares = (error @ self._whitening.T).square().sum((-2, -1))
        volume = self._mean.shape[-2] * self._scale.diagonal().log().sum()
        return -0.5 * (squares + LOG_2PI * self.event_shape[0]) - volume

    def sample(self, sample_shape: Shape = ()) -> torch.Tensor:
        """Draws, [*sample_shape, B, D]."""
        noise = self._mean.new_empty(torch.Size(sample_shape) + self._mean.shape).normal_()
        return (self._mean + noise @ self._scale.T).flatten(-2)


class ExactMixture(_Exact):
    """A forward filter over the context, then a mixture over (z_{t-1}, z_t).

    Without context the pair has its stationary distribution.

    Args:
        world: driven by a hidden chain.
        context_frames: W.
    """

    initial: torch.Tensor
    transition: torch.Tensor
    state_means: torch.Tensor
    state_variances: torch.Tensor
    mixing: torch.Tensor
    means: torch.Tensor
    log_sigmas: torch.Tensor
    previous: torch.Tensor

    def __init__(self, world: HiddenChain, *, context_frames: int) -> None:
        super().__init__(context_frames, world.dim)
        self._world = world
        states = len(world.transition)
        self._hold(
            initial=world.stationary,
            transition=world.transition,
            state_means=world.means,
            state_variances=world.variances,
            mixing=np.zeros((states, states**2)),
            means=np.zeros((states**2, world.dim)),
            log_sigmas=np.zeros(states**2),
            previous=np.zeros(1),
        )

    def fit(self, train: TaskFrames, training: Training) -> None:
        """Take weights, means and scales of the mixture from the world.

        Raises:
            UsageError: a delta over more than one frame.
        """
        _require_one_step(train)
        target = _target(train)
        seen = target == "delta" and train.horizon == 1 and not train.blind
        pairs = self._world.pairs(target, previous_seen=seen)
        known = np.eye(len(self._world.transition))
        mixing = self._world.pair_weights(known, train.horizon)
        if train.blind:
            mixing = np.tile(self._world.stationary_pairs, (len(known), 1))
        self._put(
            training.device,
            mixing=mixing,
            means=pairs.means,
            log_sigmas=0.5 * np.log(pairs.variances),
            previous=np.array([float(seen)]),
        )

    def forward(self, context: torch.Tensor) -> DiagonalGaussianMixture:
        """The mixture of each context, [B, W, D]."""
        frames = context.double()
        weights = self._predicted(frames) @ self.mixing
        means = self.means - (self.previous * frames[:, -1]).unsqueeze(1)
        log_sigmas = self.log_sigmas[:, None].expand_as(means)
        return DiagonalGaussianMixture(weights.log(), means, log_sigmas)

    def _predicted(self, frames: torch.Tensor) -> torch.Tensor:
        """P(z after the context | context), [B, J]."""
        squares = (frames.unsqueeze(2) - self.state_means).square().sum(-1)
        log_likelihood = -0.5 * (
            squares / self.state_variances + self.dim * self.state_variances.log()
        )
        predicted = self.initial.expand(len(frames), -1)
        for t in range(frames.shape[1]):
            filtered = (predicted.log() + log_likelihood[:, t]).softmax(-1)
            predicted = filtered @ self.transition
        return predicted


def _target(train: TaskFrames) -> Target:
    return "x" if train.target == "x" else "delta"


def _require_one_step(train: TaskFrames) -> None:
    if train.target == "delta" and train.step != 1:
        raise UsageError(
            f"The exact predictor knows changes over one frame, not over {train.step}.",
            "Use task.step_frames=1, or task.target=x.",
        )
