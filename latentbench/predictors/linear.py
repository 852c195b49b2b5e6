"""Exact least squares on the whole window: a vector autoregression with Gaussian residuals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from latentbench.predictors.gaussian import SharedGaussian, positive_definite_factor
from latentbench.predictors.moments import lagged_products, require_finite, require_frames, taps
from latentbench.predictors.predictor import Predictor

if TYPE_CHECKING:
    from latentbench.predictors.moments import LaggedProducts
    from latentbench.predictors.plugin import LinearOptions
    from latentbench.predictors.training import Training
    from latentbench.progress import Progress
    from latentbench.tasks import TaskFrames

__all__ = ["LinearPredictor"]

FLOAT32_RESOLUTION = torch.finfo(torch.float32).eps
SMALLEST_RIDGE = 1e-12
RIDGE_STEP = 100.0


class LinearPredictor(Predictor):
    r"""A linear map of the W context frames and a constant, with one residual covariance.

    .. math::
        p(y \mid c) = \mathcal N(B^T c + b,\, S), \quad
        B = (G + \lambda\, \mathrm{diag}\, G)^{-1} C, \quad
        S = \frac{1}{N - 1 - WD} \sum (y - \hat y)(y - \hat y)^T

    G = sum of c c^T and C = sum of c y^T over all training frames, c and y centred, in
    float64: the normal equations of least squares, solved in closed form. The ridge lambda is
    relative to each feature's own variance, and raised only if the Cholesky factorisation
    fails without. Features that never change get no weight and cost no degree of freedom;
    what a large ridge frees of them is not counted, so S is then a little too wide. Diagonal
    S has variances floored as `marginal`; full S follows `positive_definite_factor`.
    """

    options: LinearOptions
    weight: torch.Tensor
    bias: torch.Tensor
    factor: torch.Tensor

    def __init__(self, options: LinearOptions, *, context_frames: int, dim: int) -> None:
        super().__init__(options, context_frames=context_frames, dim=dim)
        zeros = torch.zeros(context_frames * dim, dim, dtype=torch.float64)
        unit = torch.ones(dim, dtype=torch.float64)
        self.register_buffer("weight", zeros)
        self.register_buffer("bias", torch.zeros_like(unit))
        self.register_buffer("factor", unit if options.covariance == "diagonal" else unit.diag())

    def fit(self, train: TaskFrames, training: Training) -> None:
        """Solve for the weights; one pass over the frames.

        Raises:
            LatentbenchError: no more frames than W D + 1 unknowns, or frames not finite.
        """
        require_frames(train, self.context_frames * self.dim + 2, "linear")
        self.to(training.device)
        context = [train.horizon + age for age in reversed(range(self.context_frames))]
        if train.blind:
            context = []
        lags = sorted({*taps(train), *context})
        products = lagged_products(train.latents, train.rows, lags, training.device)
        require_finite(products.scatter, train)
        equations = _equations(products, lags, context, taps(train))
        weight, residual, used = _solve(equations, self.options.ridge, train, training.progress)
        residual /= products.count - 1 - used
        if context:
            self.weight.copy_(weight)
        self.bias.copy_(equations.target_mean - equations.context_mean @ weight)
        self.factor.copy_(self._factor_of(residual, train, training.progress))

    def _factor_of(
        self, residual: torch.Tensor, train: TaskFrames, progress: Progress
    ) -> torch.Tensor:
        floor = self.options.floor
        if self.options.covariance == "diagonal":
            return residual.diagonal().clamp_min(floor).sqrt()
        factor, widened = positive_definite_factor(
            residual, floor=floor, eigenvalue_floor=self.options.eigenvalue_floor
        )
        if widened:
            progress.say(
                f"linear at k = {train.horizon}: {widened} of {self.dim} residual directions are "
                "degenerate and were widened."
            )
        return factor

    def forward(self, context: torch.Tensor) -> SharedGaussian:
        """The Gaussian of each context, [B, W, D]."""
        features = context.flatten(-2).double()
        return SharedGaussian.from_factor(features @ self.weight + self.bias, self.factor)


@dataclass(frozen=True)
class _Equations:
    """Centred sums of products: context [WD, WD], cross [WD, D], target [D, D]; and means."""

    context: torch.Tensor
    cross: torch.Tensor
    target: torch.Tensor
    context_mean: torch.Tensor
    target_mean: torch.Tensor


def _equations(
    products: LaggedProducts, lags: list[int], context: list[int], target: dict[int, float]
) -> _Equations:
    """The normal equations, for the lags of the window, oldest first, and those of the target."""
    scatter, means = products.scatter, products.means
    window = [lags.index(lag) for lag in context]
    weight = means.new_zeros(len(lags))
    for lag, of_target in target.items():
        weight[lags.index(lag)] = of_target
    size, dim = len(context) * means.shape[-1], means.shape[-1]
    with_target = torch.einsum("adbe,b->ade", scatter, weight)
    return _Equations(
        context=scatter[window][:, :, window].reshape(size, size),
        cross=with_target[window].reshape(size, dim),
        target=torch.einsum("ade,a->de", with_target, weight),
        context_mean=means[window].flatten(),
        target_mean=weight @ means,
    )


def _solve(
    equations: _Equations, ridge: float, train: TaskFrames, progress: Progress
) -> tuple[torch.Tensor, torch.Tensor, int]:
    """Weights [WD, D], the residual scatter [D, D], and how many features vary."""
    gram = equations.context
    scale = gram.diagonal().sqrt()
    varies = scale > FLOAT32_RESOLUTION * equations.context_mean.abs() * len(train) ** 0.5
    inverse = torch.where(varies, 1.0 / scale, 0.0)
    correlation = gram * inverse * inverse[:, None]
    wanted = ridge
    while True:
        correlation.diagonal().fill_(1.0 + ridge)
        factor, failed = torch.linalg.cholesky_ex(correlation)
        if not failed:
            break
        ridge = max(ridge * RIDGE_STEP, SMALLEST_RIDGE)
    if ridge > wanted:
        progress.say(
            f"linear at k = {train.horizon}: the context is collinear; the ridge was raised from "
            f"{wanted:g} to {ridge:g}."
        )
    scaled = torch.cholesky_solve(equations.cross * inverse[:, None], factor)
    weight = scaled * inverse[:, None]
    # (G + R) B = C, so the sum of squared residuals is Y - B^T C - B^T R B.
    residual = equations.target - weight.mT @ equations.cross - ridge * (scaled.mT @ scaled)
    return weight, (residual + residual.mT) / 2.0, int(varies.sum())
