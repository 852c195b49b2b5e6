"""The optimal predictor of a world, as a predictor: what is then off is the instrument."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from pydantic import TypeAdapter, ValidationError
from scipy.linalg import block_diag

from latentbench.errors import UsageError
from latentbench.predictors.gaussian import SharedGaussian
from latentbench.predictors.mixture import DiagonalGaussianMixture
from latentbench.predictors.predictor import Predictor
from latentbench.worlds.gaussian import LinearGaussian
from latentbench.worlds.hidden import HiddenChain
from latentbench.worlds.plugin import build_world, world_options

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from latentbench.predictors.training import Training
    from latentbench.tasks import TaskFrames
    from latentbench.worlds.plugin import ExactOptions
    from latentbench.worlds.world import Target, World

__all__ = ["ExactGaussian", "ExactMixture", "exact", "optimal_predictor"]


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
    """Densities in float64, and nothing to learn."""

    def __init__(self, context_frames: int, dim: int) -> None:
        super().__init__(context_frames=context_frames, dim=dim)
        for name, array in self._state(1, "x", blind=False).items():
            self.register_buffer(name, torch.from_numpy(array))

    @abstractmethod
    def _state(self, horizon: int, target: Target, *, blind: bool) -> Mapping[str, NDArray[Any]]:
        """What `forward` uses, always of the same shapes; `blind`: without context."""

    def fit(self, train: TaskFrames, training: Training) -> None:
        """Take the density from the world; of the frames only horizon and target count.

        Raises:
            UsageError: a delta over more than one frame.
        """
        target: Target = "x" if train.target == "x" else "delta"
        if target == "delta" and train.step != 1:
            raise UsageError(
                f"The exact predictor knows changes over one frame, not over {train.step}.",
                "Use task.step_frames=1, or task.target=x.",
            )
        self.to(training.device)
        for name, array in self._state(train.horizon, target, blind=train.blind).items():
            self.get_buffer(name).copy_(torch.from_numpy(array))


class ExactGaussian(_Exact):
    """N(K c, S_k), copy by copy of a linear-Gaussian process; without context N(0, S)."""

    gain: torch.Tensor
    factor: torch.Tensor

    def __init__(self, world: LinearGaussian, *, context_frames: int) -> None:
        self._world = world
        super().__init__(context_frames, world.dim)

    def _state(self, horizon: int, target: Target, *, blind: bool) -> Mapping[str, NDArray[Any]]:
        world, copies = self._world, self._world.copies
        found = world.conditional(horizon, self.context_frames, target)
        factor = np.linalg.cholesky(found.total if blind else found.residual)
        return {
            "gain": found.gain * (not blind),
            "factor": np.full(copies, factor)
            if world.width == 1
            else block_diag(*copies * [factor]),
        }

    def forward(self, context: torch.Tensor) -> SharedGaussian:
        """The conditional of each context, [B, W, D]."""
        copies = context.double().view(*context.shape[:2], -1, self._world.width)
        return SharedGaussian.from_factor(
            (copies.transpose(1, 2).flatten(-2) @ self.gain.T).flatten(-2), self.factor
        )


class ExactMixture(_Exact):
    """A forward filter over the context, then a mixture over (z_{t-1}, z_t).

    Without context the pair has its stationary distribution.
    """

    initial: torch.Tensor
    transition: torch.Tensor
    state_means: torch.Tensor
    state_variances: torch.Tensor
    mixing: torch.Tensor
    means: torch.Tensor
    log_sigmas: torch.Tensor
    previous: torch.Tensor
    informed: torch.Tensor

    def __init__(self, world: HiddenChain, *, context_frames: int) -> None:
        self._world = world
        super().__init__(context_frames, world.dim)

    def _state(self, horizon: int, target: Target, *, blind: bool) -> Mapping[str, NDArray[Any]]:
        world, known = self._world, np.eye(len(self._world.transition))
        seen = target == "delta" and horizon == 1 and not blind
        pairs = world.pairs(target, previous_seen=seen)
        return {
            "initial": world.stationary,
            "transition": world.transition,
            "state_means": world.means,
            "state_variances": world.variances,
            "mixing": np.tile(world.stationary_pairs, (len(known), 1))
            if blind
            else world.pair_weights(known, horizon),
            "means": pairs.means,
            "log_sigmas": 0.5 * np.log(pairs.variances),
            "previous": np.array([float(seen)]),
            "informed": np.array([float(not blind)]),
        }

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
        log_likelihood = (-0.5 * self.informed) * (
            squares / self.state_variances + self.dim * self.state_variances.log()
        )
        predicted = self.initial.expand(len(frames), -1)
        for t in range(frames.shape[1]):
            filtered = (predicted.log() + log_likelihood[:, t]).softmax(-1)
            predicted = filtered @ self.transition
        return predicted
