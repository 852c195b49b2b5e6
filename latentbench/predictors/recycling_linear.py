"""A linear layer whose weight gradients use the memory of the step before."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

__all__ = ["RecyclingLinear", "release_gradients"]


class RecyclingLinear(nn.Linear):
    """`nn.Linear`, its parameters, initialisation and result, with recycled gradient memory.

    On a CPU the weight gradients of a wide network are freed and allocated anew at every step,
    and the kernel hands the pages over one by one, zeroed: that costs about as much as the
    product that fills them. Here `release_gradients` keeps them for the next backward pass.
    Other devices have caching allocators, autocast another dtype, and what `torch.compile` makes
    its own memory; all take the usual path.
    """

    spare: torch.Tensor | None = None

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 - nn.Linear's name
        """[..., in_features] to [..., out_features]."""
        usual = input.device.type != "cpu" or torch.is_autocast_enabled("cpu")
        if usual or torch.compiler.is_compiling():
            return super().forward(input)
        product: torch.Tensor = _Product.apply(input, self.weight, self.bias, self)
        return product


class _Product(Function):
    @staticmethod
    def forward(
        ctx: Any,
        inputs: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor,
        layer: RecyclingLinear,
    ) -> torch.Tensor:
        ctx.layer = layer
        ctx.save_for_backward(inputs, weight)
        return F.linear(inputs, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        inputs, weight = ctx.saved_tensors
        for_inputs = for_weight = for_bias = None
        if ctx.needs_input_grad[0]:
            for_inputs = gradient @ weight
        rows = gradient.flatten(0, -2)
        if ctx.needs_input_grad[1]:
            memory, ctx.layer.spare = ctx.layer.spare, None
            if memory is None:
                memory = torch.empty_like(weight)
            for_weight = torch.mm(rows.t(), inputs.flatten(0, -2), out=memory)
        if ctx.needs_input_grad[2]:
            for_bias = rows.sum(0)
        return for_inputs, for_weight, for_bias, None


def release_gradients(module: nn.Module) -> None:
    """Clear all gradients, as `zero_grad(set_to_none=True)`, keeping what can be recycled."""
    for layer in module.modules():
        if isinstance(layer, RecyclingLinear) and layer.weight.device.type == "cpu":
            layer.spare = layer.weight.grad
    module.zero_grad(set_to_none=True)
