"""Uniform noise of one lattice step, reproducible on every machine.

The encoder's output is dequantized int8, so its latents lie on a lattice, where a continuous
density has no upper bound. Noise uniform on one lattice cell makes them continuous without
moving the mean of a cell.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["dithered"]

_CELLS = 2.0**32


def dithered(latents: NDArray[np.float32], step: float, seed: int) -> NDArray[np.float32]:
    """Latents plus U(-1/2, 1/2)·step.

    The noise of frame t is drawn from SHAKE-256 over the seed and frames 0..t. So it depends
    neither on the order nor the company in which utterances are encoded, nor on later frames,
    and it repeats only where two utterances of one seed agree in every frame so far.

    Args:
        latents: float32 [F, D] on the lattice.
        step: distance of lattice points.
        seed: which noise.

    Returns:
        float32 [F, D].
    """
    frames, dim = latents.shape
    state = hashlib.shake_256(f"latentbench dither {seed}".encode())
    bits = np.empty((frames, dim), dtype="<u4")
    for t, frame in enumerate(np.ascontiguousarray(latents, dtype="<f4")):
        state.update(frame.tobytes())
        bits[t] = np.frombuffer(state.digest(4 * dim), dtype="<u4")
    noise = (bits + 0.5) / _CELLS - 0.5
    return (latents + step * noise).astype(np.float32)
