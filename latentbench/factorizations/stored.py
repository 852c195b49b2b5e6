"""The latents of a factorisation: fitted once a run, and kept in a store derived from its base.

The key of the derived store is that of the base, the digest of the fitted file, and the options and
the code of the factorisation: two runs that learned the same and look at it alike share it, and
nothing that was made otherwise is ever read for it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from latentbench.config import make
from latentbench.digest import file_digest
from latentbench.errors import LatentbenchError
from latentbench.inline import lasting_digest
from latentbench.latents.store import LatentStore
from latentbench.tensors import load_tensors, save_tensors

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from latentbench.config import ComponentConfig, RunConfig
    from latentbench.factorizations.factorization import Factorization, Fitting
    from latentbench.latents import Latents
    from latentbench.latents.manifest import ManifestRow
    from latentbench.latents.store import ShardEntry
    from latentbench.plugins import Registry
    from latentbench.progress import Progress

__all__ = [
    "factored_store",
    "fit_factorization",
    "fitted_file",
    "is_factored",
    "restore_factorization",
]

RUN_AGAIN = "Give the same 'latentbench run' command again: it is fitted again."
NONE = "none"


def is_factored(config: RunConfig) -> bool:
    """Whether a run looks at anything but the latents as they are."""
    return config.factorization.name != NONE


def fitted_file(folder: Path, name: str) -> Path:
    """Where the run in `folder` keeps what the factorisation of that name learned."""
    return folder / f"factorization-{name}.safetensors"


def fit_factorization(
    latents: Latents,
    sides: Mapping[str, Sequence[int]],
    config: RunConfig,
    registry: Registry,
    *,
    folder: Path,
    fitting: Fitting,
    known: dict[Any, Mapping[str, torch.Tensor]],
    base: str,
) -> Path:
    """Fit the factorisation of a run on its train latents, and save it.

    Args:
        latents: of the encoder.
        sides: indices into them.
        config: of the run.
        registry: where its factorisation is.
        folder: of the run.
        fitting: what it is fitted with.
        known: what was learned before in this process; what is learned now is added.
        base: tells the latents and their sides from others.

    Returns:
        The file, `factorization-NAME.safetensors`; one that is there is left as it is.

    Raises:
        UsageError: the latents do not allow it.
        DamagedFileError: the file is not what was written.
    """
    file = fitted_file(folder, config.factorization.name)
    if file.exists():
        load_tensors(file, RUN_AGAIN)
        return file
    key = (base, config.factorization.model_dump_json(), str(fitting.device))
    if key not in known:
        made: Factorization = make(config.factorization, "factorization", registry)
        made.fit(latents, sides["train"], fitting)
        known[key] = made.state()
    save_tensors(file, known[key])
    return file


def restore_factorization(config: RunConfig, registry: Registry, file: Path) -> Factorization:
    """The fitted factorisation of a run.

    Raises:
        DamagedFileError: the file is gone or is not what was written.
    """
    made: Factorization = make(config.factorization, "factorization", registry)
    made.restore(load_tensors(file, RUN_AGAIN))
    return made


def factored_store(
    base: LatentStore,
    rows: Sequence[ManifestRow],
    config: RunConfig,
    registry: Registry,
    *,
    file: Path,
    progress: Progress,
) -> LatentStore:
    """The store of z_dyn of every usable row; encodes what it lacks.

    Args:
        base: that holds the latents of the encoder.
        rows: of the manifest.
        config: of the run.
        registry: where its factorisation is.
        file: of the fitted factorisation.
        progress: told the utterances done.

    Raises:
        LatentbenchError: the store cannot be written, or states are not what the contract says.
        DamagedFileError: the fitted file or the base is not what was written.
    """
    factorization = restore_factorization(config, registry, file)
    key = _key(base, config.factorization, registry, dim=factorization.dim, file=file)
    store = LatentStore.for_key(base.path.parents[1], key)
    wanted = {(row.utterance, row.audio) for row in rows if not row.skipped}
    if store.holds(wanted):
        return store
    with store.writing(progress):
        store.drop_damaged(progress)
        missing = wanted - store.entries().keys()
        with progress.task("factoring latents", len(missing), "utterances") as meter:
            for batch in _shards(base, missing):
                _encode(base, store, factorization, batch)
                meter.advance(len(batch))
    return store


def _key(
    base: LatentStore, chosen: ComponentConfig, registry: Registry, *, dim: int, file: Path
) -> dict[str, Any]:
    component = registry.get("factorization", chosen.name)
    return {
        **base.key,
        "encoder": f"{base.key['encoder']} by {chosen.name}",
        "geometry": {**base.key["geometry"], "dim": dim},
        "factorization": {
            "base": base.path.name,
            "fitted": file_digest(file),
            "options": chosen.model_dump(mode="json"),
            "provider": str(component.provider),
            "code": component.code or lasting_digest(component.factory()),
        },
    }


def _shards(base: LatentStore, missing: set[tuple[str, str]]) -> list[list[ShardEntry]]:
    """The entries of the base that are missing, shard by shard; no more than a shard takes."""
    by_shard: dict[str, list[ShardEntry]] = {}
    for key, entry in base.entries().items():
        if key in missing:
            by_shard.setdefault(entry.shard, []).append(entry)
    return [by_shard[name] for name in sorted(by_shard)]


def _encode(
    base: LatentStore,
    store: LatentStore,
    factorization: Factorization,
    entries: Sequence[ShardEntry],
) -> None:
    """Write z_dyn of the entries of one shard of the base as one shard of the store."""
    ((latents, energy),) = base.open_shards([entries[0].shard])
    states, energies, placed, start = [], [], [], 0
    with torch.inference_mode():
        for entry in entries:
            at = entry.start
            for frames in entry.segments:
                stretch = latents[at : at + frames].float().clone()
                states.append(_sound(factorization, factorization.encode(stretch), entry, frames))
                at += frames
            energies.append(energy[entry.start : at])
            placed.append(replace(entry, shard="", start=start))
            start += at - entry.start
    store.add(torch.cat(states), torch.cat(energies), placed)


def _sound(
    factorization: Factorization, states: torch.Tensor, entry: ShardEntry, frames: int
) -> torch.Tensor:
    """The states of a stretch, if they are what the contract says: nothing else is kept.

    Raises:
        LatentbenchError: they are of another shape, or not finite.
    """
    wanted, shape = [frames, factorization.dim], list(states.shape)
    odd = int((~states.isfinite()).reshape(len(states), -1).any(1).sum()) if shape == wanted else 0
    if shape == wanted and not odd:
        return states
    told = f"of {odd} frames that are not finite" if odd else f"{shape} where {wanted} are wanted"
    kind = type(factorization)
    raise LatentbenchError(
        f"The factorisation {kind.__module__}.{kind.__qualname__} gives states {told}, of the "
        f"utterance '{entry.utterance}'.",
        "'latentbench plugins check' looks for more of this; tell the plugin's authors.",
    )
