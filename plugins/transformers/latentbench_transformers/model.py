"""One utterance to the latents of one layer of a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn

from latentbench.errors import UsageError, nearest
from latentbench_transformers.features import BEFORE_QUANTIZER
from latentbench_transformers.plugin import LATENTS

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from latentbench_transformers.features import Features

__all__ = ["AudioModel"]


class AudioModel(nn.Module):
    """The output of a layer for one utterance.

    Attributes:
        model: the library's own.
        features: what it is given of a wave.
        layer: an index of `hidden_states`, the name of a module, or `latents`.
        time_axis: of the layer's output, 1 or 2, once it has been measured.
        multiple: samples to whose multiple a codec's input is zero-padded, once measured.

    Raises:
        UsageError: there is no such module.
    """

    def __init__(self, model: nn.Module, features: Features, layer: int | str) -> None:
        super().__init__()
        self.model: Any = model
        self.features = features
        self.layer = layer
        self.time_axis = 1
        self.multiple = 1
        name = self._module_name()
        known = dict(self.model.named_modules())
        if name is not None and (not name or name not in known):
            raise UsageError(
                f"encoder.layer={name} is no module of this {self._kind}.",
                nearest(name, [one for one in known if one]),
            )
        self._place = name

    @property
    def _kind(self) -> str:
        return str(self.model.config.model_type)

    @property
    def _modules_told(self) -> str:
        return f"{', '.join(name for name, _ in self.model.named_children())} or inside one"

    def _module_name(self) -> str | None:
        """The module whose output is wanted; None where it is the model's own."""
        if isinstance(self.layer, int):
            return None
        if self.layer != LATENTS:
            return self.layer
        if not hasattr(self.model, "encode"):
            return None
        if self._kind not in BEFORE_QUANTIZER:
            raise UsageError(
                f"Which module of a {self._kind} gives its quantizer the latents is not known.",
                f"Name it: --set encoder.layer=MODULE, {self._modules_told}.",
            )
        return BEFORE_QUANTIZER[self._kind]

    def forward(self, wave: torch.Tensor) -> torch.Tensor:
        """The frames [F, D] of one utterance, float32 [channels, n]."""
        values, others = self.features(wave)
        if self.multiple > 1:
            values = nn.functional.pad(values, (0, -values.shape[-1] % self.multiple))
        output = self._output(values, others)
        rows = output[0] if self.time_axis == 1 else output[0].T
        mask = others.get("attention_mask")
        if mask is not None and mask.shape[-1] == len(rows):
            rows = rows[mask[0].bool()]  # the extractor filled up to a multiple of its own stride
        return rows

    def shape(self, wave: torch.Tensor) -> tuple[int, int]:
        """The two axes of the layer's output for one utterance, as they come."""
        first, second = self._output(*self.features(wave)).shape[1:]
        return first, second

    def _output(self, values: torch.Tensor, others: dict[str, torch.Tensor]) -> torch.Tensor:
        """What the layer gives for one utterance, [1, F, D] or [1, D, F]."""
        values = values.to(self.model.dtype)
        output: torch.Tensor | None
        if isinstance(self.layer, int):
            output = self._hidden_state(values, others)
        elif self._place is None:
            output = self.model(values, **others)[0]
        else:
            run = getattr(self.model, "encode", self.model)
            module = self.model.get_submodule(self._place)
            output = _output_of(module, lambda: run(values, **others))
        if output is None or output.ndim != 3:  # noqa: PLR2004 - as above
            given = "nothing" if output is None else f"a tensor of shape {list(output.shape)}"
            raise UsageError(
                f"encoder.layer={self.layer} gives {given} for an utterance, not frames.",
                "Name a module that gives [1, F, D] or [1, D, F].",
            )
        return output

    def _hidden_state(self, values: torch.Tensor, others: dict[str, torch.Tensor]) -> torch.Tensor:
        layer, states = int(self.layer), None
        if not hasattr(self.model, "encode"):
            run = self.model(values, output_hidden_states=True, return_dict=True, **others)
            states = getattr(run, "hidden_states", None)
        if not states:
            raise UsageError(
                f"A {self._kind} has no hidden_states, so no layer {layer}.",
                f"Take --set encoder.layer={LATENTS}, or name a module: {self._modules_told}.",
            )
        if not -len(states) <= layer < len(states):
            raise UsageError(
                f"encoder.layer={layer}: the model has hidden_states 0 to {len(states) - 1}.",
                "0 is before the first layer, -1 the last.",
            )
        state: torch.Tensor = states[layer]
        return state


class _Reached(Exception):  # noqa: N818 - no error: the rest need not be computed
    """The module has given its output."""


def _output_of(module: nn.Module, run: Callable[[], Any]) -> torch.Tensor | None:
    """The first output of a module while `run` runs, which ends there; None if it never came."""
    outputs: list[torch.Tensor] = []

    def keep(_module: nn.Module, _given: Any, made: Any) -> None:
        outputs.append(made if hasattr(made, "ndim") else made[0])
        raise _Reached

    handle = module.register_forward_hook(keep)
    try:
        run()
    except _Reached:
        pass
    finally:
        handle.remove()
    return outputs[0] if outputs else None
