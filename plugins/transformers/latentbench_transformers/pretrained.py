"""A model of the library from its folder: all of its weights, or none but what a seed draws."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
import transformers
from torch import nn
from transformers import AutoConfig, PreTrainedModel

from latentbench.encoders.state_dicts import WeightsMismatchError
from latentbench.errors import UsageError, nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

__all__ = ["load", "make"]

AutoModel: Any = transformers.AutoModel  # the library leaves most of these untyped
logging: Any = transformers.utils.logging

NAMED = 3
FOR_TRAINING = "masked_spec_embed"  # where training hides frames; checkpoints may lack it


class _Plan(NamedTuple):
    """A model before it is built.

    Attributes:
        kind: its class.
        config: its configuration.
        inside: where it is in the model of the folder; empty where it is that model.
        prefix: what the names of its weights begin with in the folder, a regular expression.
    """

    kind: Any
    config: Any
    inside: str
    prefix: str


def make(folder: Path, part: str) -> nn.Module:
    """The model of a folder, or a part of it, with weights drawn from torch's generator.

    Raises:
        UsageError: the folder describes no model of the library, or none with such a part.
    """
    with _quiet():
        plan = _plan(folder, part)
        model: nn.Module = plan.kind(plan.config)
    return model.float().eval()


def load(folder: Path, part: str) -> nn.Module:
    """The model of a folder, or a part of it, with its weights in float32.

    Of a part, only its own weights are read.

    Raises:
        UsageError: as `make`; or a weight is missing, of another shape, not finite, or its own
            and yet unknown.
    """
    with _quiet():
        plan = _plan(folder, part)
        try:
            model, found = plan.kind.from_pretrained(
                folder,
                config=plan.config,
                dtype=torch.float32,
                key_mapping={f"^{plan.prefix}": ""} if plan.inside else None,
                local_files_only=True,
                output_loading_info=True,
            )
            _require_all(model, found, plan.prefix)
        except (OSError, RuntimeError, ValueError, KeyError, WeightsMismatchError) as error:
            raise UsageError(
                f"The weights in '{folder}' do not fit its config.json: {_first_line(error)}",
                "Take both of one and the same model and revision.",
            ) from None
    loaded: nn.Module = model
    return loaded.eval()


def _plan(folder: Path, part: str) -> _Plan:
    """What to build; of a model with encoder and decoder the encoder, where no part is named."""
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        # As the architecture alone: no memory, no time.
        with torch.device("meta"):
            whole = AutoModel.from_config(_at_rest(config))
    except (OSError, ValueError, KeyError, TypeError, ImportError) as error:
        raise UsageError(
            f"'{folder}' holds no model that this transformers builds: {_first_line(error)}",
            "Code that comes with a model is never run; a newer transformers may know the model.",
        ) from None
    if getattr(config, "quantization_config", None):
        raise UsageError(
            f"The weights in '{folder}' are quantized: their latents are other latents.",
            "Take the model's own weights.",
        )
    outer = rf"(?:{re.escape(whole.base_model_prefix)}\.)?" if whole.base_model_prefix else ""
    if not part and not config.is_encoder_decoder:
        return _Plan(type(whole), config, "", outer)
    inside, model = _part(whole, part)
    return _Plan(type(model), model.config, inside, rf"{outer}{re.escape(inside)}\.")


def _part(whole: Any, part: str) -> tuple[str, Any]:
    """The name and the model of a part; without name, the encoder."""
    base = f"{whole.base_model_prefix}."
    known = {
        name.removeprefix(base): model
        for name, model in whole.named_modules()
        if name and isinstance(model, PreTrainedModel)
    }
    name = part.removeprefix(base) or "encoder"
    if name not in known:
        raise UsageError(
            f"encoder.part={part}: no such model is inside this {whole.config.model_type}.",
            nearest(name, known),
        )
    return name, known[name]


def _at_rest(config: Any) -> Any:
    """The configuration of a model that hides no frames, and so has no `FOR_TRAINING`."""
    for name in ("mask_time_prob", "mask_feature_prob"):
        if getattr(config, name, 0.0):
            setattr(config, name, 0.0)
    for inner in ("semantic_model_config", "audio_config"):
        if hasattr(config, inner):
            _at_rest(getattr(config, inner))
    return config


def _require_all(model: nn.Module, found: Any, prefix: str) -> None:
    """Refuse weights that would leave a part at random, or leave a part out.

    Raises:
        WeightsMismatchError: names the first ones.
    """
    if missing := found["missing_keys"]:
        raise WeightsMismatchError(f"{len(missing)} missing: {_some(missing)}.")
    own = {name for name, _ in model.named_children()}
    others = [
        name
        for name in found["unexpected_keys"]
        if (begins := re.match(prefix, name))
        and name[begins.end() :].partition(".")[0] in own
        and not name.endswith(FOR_TRAINING)
    ]
    if others:
        raise WeightsMismatchError(f"{len(others)} not known: {_some(others)}.")
    state = model.state_dict().items()
    if bad := [name for name, tensor in state if not tensor.isfinite().all()]:
        raise WeightsMismatchError(f"{len(bad)} not finite: {_some(bad)}.")


@contextmanager
def _quiet() -> Iterator[None]:
    """No bars and reports of the library: what they would say, errors here say."""
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def _first_line(error: Exception) -> str:
    return str(error).strip().strip("'\"").partition("\n")[0]


def _some(names: Iterable[str]) -> str:
    listed = sorted(names)
    return ", ".join(listed[:NAMED]) + (", …" if len(listed) > NAMED else "")
