"""From mel power back to sound: a nonnegative spectrum, then phases that go together.

The spectrum is the nonnegative one whose mel power is nearest, by the multiplicative updates of
Lee and Seung ("Algorithms for non-negative matrix factorization", NIPS 2000), so that levels are
kept. Phases are those of the fast Griffin-Lim algorithm (Perraudin et al., WASPAA 2013).
"""

from __future__ import annotations

import torch
from torchaudio.functional import griffinlim

__all__ = ["sound_of"]

STEP = 100  # samples from one spectrum to the next: a quarter of the window
UPDATES = 30
ITERATIONS = 32
MOMENTUM = 0.99
LEAST = 1e-12


def sound_of(
    power: torch.Tensor, bank: torch.Tensor, window: torch.Tensor, hop: int, fft: int
) -> torch.Tensor:
    """Sound whose windowed spectra have that mel power.

    Between the ends of hops the mel power is interpolated in its logarithm. What a long hop leaves
    out between its windows is made up so: it is not in the latents.

    Args:
        power: mel power [B, F, mels], of the window that ends where hop t does; what is below 0
            counts as 0.
        bank: filters [fft / 2 + 1, mels].
        window: [n], n a multiple of `STEP`.
        hop: samples from frame to frame.
        fft: size of the Fourier transform.

    Returns:
        Float32 [B, F hop].
    """
    batch, frames, mels = power.shape
    spectra = frames * hop // STEP + fft // STEP  # more than asked for: padding needs fft / 2
    ends = STEP * torch.arange(spectra, device=power.device) + len(window) // 2
    where = (ends / hop - 1).clamp(0, frames - 1)
    before = where.long().clamp(max=max(frames - 2, 0))
    share = (where - before)[:, None]
    log = power.clamp_min(LEAST).log()
    between = log[:, before] * (1 - share) + log[:, (before + 1).clamp(max=frames - 1)] * share
    found = _spectrum(between.exp().reshape(-1, mels), bank).reshape(batch, spectra, -1)
    sound: torch.Tensor = griffinlim(
        found.transpose(1, 2),
        window,
        n_fft=fft,
        hop_length=STEP,
        win_length=len(window),
        power=2.0,
        n_iter=ITERATIONS,
        momentum=MOMENTUM,
        length=None,
        rand_init=False,
    )
    return sound[:, : frames * hop]


def _spectrum(mel: torch.Tensor, bank: torch.Tensor) -> torch.Tensor:
    """The nonnegative power [N, bins] whose mel power is nearest to `mel` [N, mels]."""
    wanted = mel @ bank.T
    found = (mel / bank.sum(0)) @ bank.T
    for _ in range(UPDATES):
        found = found * wanted / (found @ bank @ bank.T).clamp_min(LEAST)
    return found
