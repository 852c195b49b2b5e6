"""Heads with an exact density that are maps from noise: a spline flow, and flow matching."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torchdiffeq import odeint

from latentbench.predictors.densities import LOG_2PI
from latentbench.predictors.neural.head import ROWS, GenerativeHead, RandomTable
from latentbench.predictors.neural.residual import ResidualNetwork, load_forward_derivatives

if TYPE_CHECKING:
    from latentbench.predictors.neural.head import Noise
    from latentbench.predictors.neural.options import NeuralOptions

__all__ = ["FlowMatchingHead", "SplineFlowHead", "interpolated"]

COUPLING = 2  # passes: half of the dimensions at a time, as fast to sample as to score

EXACT = 2  # times the probes: up to so many dimensions the trace is exact
PROBE_SEED = 1_977
TIME_MEAN = 0.4  # of the normal whose logistic is the time of a training draw
TRACE_VALUES = 1 << 22
REMARK_FRAMES = 64


def _spline_flow() -> Any:
    """The flow of zuko, whose import turns torch's check of distributions off in the process."""
    checked = torch.distributions.Distribution._validate_args  # noqa: SLF001 - it has no getter
    from zuko.flows import NSF  # noqa: PLC0415 - so that what it changes is put back

    torch.distributions.Distribution.set_default_validate_args(checked)
    return NSF


class SplineFlowHead(GenerativeHead):
    """A conditional neural spline flow of coupling layers (Durkan et al. 2019), zuko's `NSF`.

    The splines act on [-5, 5] of each standardised dimension and are the identity beyond.
    """

    def __init__(self, options: NeuralOptions, *, width: int, dim: int) -> None:
        super().__init__(options, width=width, dim=dim)
        self.flow = _spline_flow()(
            dim,
            context=width,
            transforms=options.transforms,
            bins=options.bins,
            hidden_features=(options.head_width,) * 2,
            passes=min(COUPLING, dim),
        )

    def loss(self, states: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The mean NLL."""
        return -self.log_density(states, target).mean()

    def generate(self, states: torch.Tensor, noise: Noise) -> torch.Tensor:
        """The inverse of the flow on noise, [S, N, D]."""
        made: torch.Tensor = self.flow(states).transform.inv(noise())
        return made

    def log_density(self, states: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Nats per frame, [N]."""
        found: torch.Tensor = self.flow(states).log_prob(target)
        return found


class FlowMatchingHead(GenerativeHead):
    r"""Rectified flow (Liu et al. 2023; Lipman et al. 2023), with its log-density by the ODE.

    .. math::
        x_t = (1 - t) \varepsilon + t z, \quad
        L = \tfrac1D \|v(x_t, t) - (z - \varepsilon)\|^2, \quad t = \sigma(N(0.4, 1))

    .. math:: \ln p(z) = \ln N(x_0; 0, I) - \int_0^1 \mathrm{tr}\, \partial_x v(x_t, t)\, dt

    The ODE is solved by torchdiffeq's fixed-step Runge-Kutta method of order 4: an adaptive
    solver takes its steps from the whole batch, and the density of a frame would depend on the
    frames beside it. The trace is exact up to twice as many dimensions as `probes`. Above it is
    Hutchinson's estimate, without bias, by probes of +-1 that are each frame's own: their errors
    average out over frames.
    """

    by_likelihood = False

    def __init__(self, options: NeuralOptions, *, width: int, dim: int) -> None:
        super().__init__(options, width=width, dim=dim)
        self.exact = dim <= EXACT * options.probes
        self.probes = dim if self.exact else options.probes
        load_forward_derivatives()
        self.network = ResidualNetwork(
            dim, width, times=1, width=options.head_width, blocks=options.head_blocks
        )
        generator = torch.Generator().manual_seed(PROBE_SEED)
        signs = 2.0 * torch.randint(2, (ROWS, dim), generator=generator).float() - 1.0
        self.signs = RandomTable(signs)

    def loss(self, states: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The mean squared error of the velocity."""
        noise = torch.randn_like(target)
        time = interpolated(target)
        velocity = self.network((1.0 - time) * noise + time * target, states, time)
        return (velocity - (target - noise)).square().mean()

    def generate(self, states: torch.Tensor, noise: Noise) -> torch.Tensor:
        """The ODE from noise at t = 0 to t = 1, [S, N, D]."""

        def velocity(time: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
            return self.network(x, states, time.reshape(1))

        ends = self._times(0.0, 1.0, states.device)
        solved: torch.Tensor = odeint(velocity, noise(), ends, method="rk4")[-1]
        return solved

    def log_density(self, states: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Nats per frame, [N]."""
        start, traces = self._solved(states, target, self.options.sampling_steps)
        return self._combined(start, traces)

    def errors(
        self, states: torch.Tensor, target: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """How far `log_density` may be off, nats per frame, [N] each.

        The change on halving the steps of the solver, and the standard error over the probes; 0
        where the trace is exact.
        """
        start, traces = self._solved(states, target, self.options.sampling_steps)
        coarse = self._combined(
            *self._solved(states, target, max(1, self.options.sampling_steps // 2))
        )
        spread = torch.zeros_like(coarse)
        if not self.exact:
            spread = traces.std(0) / math.sqrt(self.probes)
        return (self._combined(start, traces) - coarse).abs(), spread

    def remark(self, states: torch.Tensor, target: torch.Tensor) -> str:
        """The errors of the log-density."""
        solver, probes = self.errors(states[:REMARK_FRAMES], target[:REMARK_FRAMES])
        text = f"flow-matching: log-densities change by {float(solver.mean()):.2g} nats "
        text += f"per frame on halving the {self.options.sampling_steps} steps of the solver"
        if not self.exact:
            text += f"; {self.probes} probes of the trace leave each frame a standard error of "
            text += f"{float(probes.mean()):.2g} nats"
        return text + "."

    def _combined(self, start: torch.Tensor, traces: torch.Tensor) -> torch.Tensor:
        """The log-density of x_0 less the integral of `traces` [P, N], summed or averaged."""
        trace = traces.sum(0) if self.exact else traces.mean(0)
        return -0.5 * (start.square().sum(-1) + LOG_2PI * self.dim) - trace

    def _solved(
        self, states: torch.Tensor, target: torch.Tensor, steps: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """x_0, [N, D], and the integral of each probe's part of the trace, [P, N]."""
        values = self.probes * max(self.options.head_width, self.dim)
        rows = max(1, TRACE_VALUES // values)
        parts = [
            self._integrated(some, z, steps)
            for some, z in zip(torch.split(states, rows), torch.split(target, rows), strict=True)
        ]
        return torch.cat([x for x, _ in parts]), torch.cat([trace for _, trace in parts], 1)

    def _integrated(
        self, states: torch.Tensor, target: torch.Tensor, steps: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        probes = self._directions(target)

        def change(
            time: torch.Tensor, solution: tuple[torch.Tensor, torch.Tensor]
        ) -> tuple[torch.Tensor, torch.Tensor]:
            def velocity(x: torch.Tensor) -> torch.Tensor:
                return self.network(x, states, time.reshape(1))

            def moved(probe: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
                v, along = torch.func.jvp(velocity, (solution[0],), (probe,))[:2]
                return v, (along * probe).sum(-1)

            v, traces = torch.func.vmap(moved)(probes)
            return v[0], traces

        none = target.new_zeros(probes.shape[:-1])
        ends = self._times(1.0, 0.0, target.device, steps)
        graph = torch.is_grad_enabled()
        # torch up to 2.11 cannot batch forward derivatives in inference mode.
        with torch.inference_mode(mode=False), torch.set_grad_enabled(graph):
            start, gained = odeint(change, (target, none), ends, method="rk4")
        return start[-1], -gained[-1]

    def _directions(self, target: torch.Tensor) -> torch.Tensor:
        """Those along which the velocity is derived, [P, N, D]."""
        if self.exact:
            unit = torch.eye(self.dim, device=target.device)
            return unit.unsqueeze(1).expand(-1, len(target), -1)
        found: torch.Tensor = self.signs(target, self.probes)
        return found

    def _times(
        self, first: float, last: float, device: torch.device, steps: int | None = None
    ) -> torch.Tensor:
        count = (steps or self.options.sampling_steps) + 1
        return (torch.linspace(first, last, count, device=device) * math.pi / 2.0).sin()


def interpolated(target: torch.Tensor) -> torch.Tensor:
    """Times of training draws, the logistic of N(0.4, 1), [N, 1]."""
    return (TIME_MEAN + torch.randn_like(target[..., :1])).sigmoid()
