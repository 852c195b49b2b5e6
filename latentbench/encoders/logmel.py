"""Log-mel frames: an encoder without parameters, strictly causal.

Frame t is the spectrum of the 25 ms that end where its hop ends: samples
[(t+1) hop - 400, (t+1) hop) at 16 kHz, with silence before the start of the utterance. So a
frame never sees past its hop. Hops over 25 ms leave gaps: at the default of 80 ms the first
55 ms of each hop are in no frame, as when a 10 ms log-mel is kept at every eighth frame.

The way back to sound is a nonnegative spectrum, then phases that go together. The spectrum is the
nonnegative one whose mel power is nearest, by the multiplicative updates of Lee and Seung
("Algorithms for non-negative matrix factorization", NIPS 2000), so that levels are kept. Phases are
those of the fast Griffin-Lim algorithm (Perraudin et al., WASPAA 2013).
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F
from torchaudio.functional import griffinlim

from latentbench.encoders.encoder import WHOLE_UTTERANCE, Encoder
from latentbench.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from latentbench.encoders.plugin import LogMelOptions
    from latentbench.workspace import Workspace

__all__ = ["LogMelEncoder"]

SAMPLE_RATE = 16_000
WINDOW = 400
FFT = 1024  # zero-padded, so that even the narrow low bands hold a bin
FLOOR = 1e-5

STEP = 100  # samples from one spectrum of the sound to the next: a quarter of the window
UPDATES = 30
ITERATIONS = 32
MOMENTUM = 0.99
LEAST = 1e-12


class LogMelEncoder(Encoder):
    """`log(mel power + 1e-5)`; Hann window, HTK mel scale from 0 to 8 kHz, triangles of height 1.

    Raises:
        UsageError: a hop that is no whole number of samples, or more mel bands than the
            spectrum resolves.
    """

    sample_rate = SAMPLE_RATE
    max_batch_seconds = 600.0
    decoder_look_ahead = WHOLE_UTTERANCE  # phases are found for the whole at once

    def __init__(self, options: LogMelOptions, workspace: Workspace) -> None:  # noqa: ARG002 - the contract's signature; there is nothing to fetch or report
        self.hop = _hop_samples(options.hop_ms)
        self.dim = options.mels
        self._options = options
        self._bank = _mel_bank(options.mels)
        self._window = torch.hann_window(WINDOW)

    def load(self, device: torch.device) -> None:
        """Move the window and the filters to `device`."""
        self._bank = self._bank.to(device)
        self._window = self._window.to(device)

    @torch.inference_mode()
    def encode(
        self, audio: torch.Tensor, lengths: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Encode [B, T]; see `Encoder.encode`.

        Raises:
            ValueError: T is no multiple of the hop.
        """
        samples = audio.reshape(audio.shape[0], audio.shape[-1])
        if samples.shape[1] % self.hop:
            raise ValueError(f"{samples.shape[1]} samples are no whole number of {self.hop}")
        frames = torch.div(lengths + self.hop - 1, self.hop, rounding_mode="floor")
        if samples.numel() == 0:
            return samples.new_empty(samples.shape[0], 0, self.dim), frames
        ends_at_hop = F.pad(samples, (WINDOW - self.hop, 0))  # a negative pad crops
        windows = ends_at_hop.unfold(1, WINDOW, self.hop) * self._window
        power = torch.fft.rfft(windows, n=FFT).abs().square()
        return (power @ self._bank + FLOOR).log(), frames

    @torch.inference_mode()
    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Sound of that spectrum, with phases that go together; see `Encoder.decode`."""
        return _sound_of(latents.exp() - FLOOR, self._bank, self._window, self.hop)

    def fingerprint(self) -> Mapping[str, str]:
        """The options, the definition's constants and what computes it."""
        return {
            "encoder": "logmel",
            **{name: str(value) for name, value in asdict(self._options).items()},
            "window": f"hann {WINDOW} fft {FFT} floor {FLOOR}",
            "torch": torch.__version__,
            "device": self._window.device.type,
        }


def _hop_samples(hop_ms: float) -> int:
    exact = hop_ms * SAMPLE_RATE / 1000
    hop = round(exact)
    if hop < 1 or abs(exact - hop) > 1e-6:  # noqa: PLR2004 - rounding of the product alone
        near = max(hop, 1)
        raise UsageError(
            f"encoder.hop_ms={hop_ms:g} is {exact:g} samples at 16 kHz, no whole number.",
            f"The nearest hop that works is {near * 1000 / SAMPLE_RATE:g} ms ({near} samples).",
        )
    return hop


def _mel_bank(mels: int) -> torch.Tensor:
    """Triangular filters, float32 [FFT/2+1, mels]."""
    frequencies = torch.linspace(0, SAMPLE_RATE / 2, FFT // 2 + 1, dtype=torch.float64)
    top = 2595 * torch.log10(torch.tensor(1 + SAMPLE_RATE / 2 / 700, dtype=torch.float64))
    mel = torch.linspace(0, 1, mels + 2, dtype=torch.float64) * top
    corners = 700 * (10 ** (mel / 2595) - 1)
    low, peak, high = corners[:-2], corners[1:-1], corners[2:]
    rising = (frequencies[:, None] - low) / (peak - low)
    falling = (high - frequencies[:, None]) / (high - peak)
    bank = torch.minimum(rising, falling).clamp(min=0).float()
    empty = int((bank.sum(0) == 0).sum())
    if empty:
        raise UsageError(
            f"encoder.mels={mels} leaves {empty} mel bands without a bin of the spectrum.",
            "Use fewer, e.g. --set encoder.mels=80.",
        )
    return bank


def _sound_of(
    power: torch.Tensor, bank: torch.Tensor, window: torch.Tensor, hop: int
) -> torch.Tensor:
    """Sound [B, F hop] of a mel power [B, F, mels], of the windows that end where hops do.

    Between the ends of hops the mel power is interpolated in its logarithm. What a long hop leaves
    out between its windows is made up so: it is not in the latents. What is below 0 counts as 0.
    """
    batch, frames, mels = power.shape
    spectra = frames * hop // STEP + FFT // STEP  # more than asked for: padding needs FFT / 2
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
        n_fft=FFT,
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
