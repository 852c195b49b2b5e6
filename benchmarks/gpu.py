"""A training step, scoring and log-mel against a plain PyTorch script, on a GPU where one is.

Both do the same work on the same device in one process, in turns; each row is the median of
several rounds, with the device waited for before the clock is read:

- training: steps of Phase 1's MDN (W = 8, K = 8) on windows gathered from latents in memory.
  Plain: the same network under torch.distributions, AdamW with its defaults, clip_grad_norm_,
  batches gathered and copied when they are needed. Ours: batches ahead, through pinned memory
  on CUDA.
- scoring: the NLL of every frame. Ours also prepares the baseline that a metric may ask for.
- logmel: 80 bands every 80 ms. Plain: `torchaudio.transforms.MelSpectrogram`.

`x plain` is plain's time over ours: above 1, ours is faster. `apart` is the largest difference of
the losses of the first steps, of the NLLs or of the latents, relative to the largest magnitude.
TF32 is off for both.

`--compile` trains ours with `training.compile`.

Usage: python benchmarks/gpu.py [--device auto] [--rounds 9] [--dim 512] [--width 1024]
           [--batch 256] [--frames 20000] [--steps 20] [--seconds 600] [--compile]
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
import torchaudio
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from latentbench.config import TrainingConfig
from latentbench.device import choose_device, describe_device
from latentbench.encoders.logmel import FFT, FLOOR, SAMPLE_RATE, WINDOW, LogMelEncoder
from latentbench.encoders.plugin import LogMelOptions
from latentbench.latents import Latents
from latentbench.metrics.scoring import score
from latentbench.predictors.mdn import MixtureDensityNetwork
from latentbench.predictors.plugin import MdnOptions
from latentbench.predictors.training import Descent, Training
from latentbench.predictors.training_batches import prepared_batches, sampling
from latentbench.progress import SILENT
from latentbench.tasks import WindowTask
from latentbench.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable

    from latentbench.predictors import Predictor
    from latentbench.tasks import TaskFrames

    Work = Callable[[], torch.Tensor]

W = 8
SCORED_AT_ONCE = 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto")
    sizes = {
        "rounds": 9,
        "dim": 512,
        "width": 1024,
        "batch": 256,
        "frames": 20_000,
        "steps": 20,
        "seconds": 600,
    }
    for name, size in sizes.items():
        parser.add_argument(f"--{name}", type=int, default=size)
    parser.add_argument("--compile", action="store_true")
    given = parser.parse_args()
    device = choose_device(given.device)
    torch.manual_seed(0)
    frames = make_frames(given.frames, given.dim)
    model = MixtureDensityNetwork(MdnOptions(width=given.width), context_frames=W, dim=given.dim)
    model.to(device)
    print(f"{describe_device(device)}, torch {torch.__version__}")
    print(f"{'':10}{'plain ms':>10}{'ours ms':>10}{'x plain':>9}{'apart':>10}")
    config = TrainingConfig(batch_size=given.batch, compile=given.compile)
    show("training", training(model, frames, config, given.steps, device), given.rounds)
    show("scoring", scoring(model, frames, device), given.rounds)
    show("logmel", logmel(given.seconds, device), given.rounds)


def show(name: str, pair: tuple[Work, Work], rounds: int) -> None:
    """One row; the first turn warms up, and its results are compared."""
    first = [work() for work in pair]
    apart = ((first[0] - first[1]).abs().max() / first[0].abs().max()).item()
    taken = [[timed(work) for work in pair] for _ in range(rounds)]
    plain, ours = (1e3 * statistics.median(column) for column in zip(*taken, strict=True))
    print(f"{name:10}{plain:10.2f}{ours:10.2f}{plain / ours:9.2f}{apart:10.1e}")


def timed(work: Work) -> float:
    start = time.perf_counter()
    work().sum().item()  # waits for the device
    return time.perf_counter() - start


def make_frames(count: int, dim: int) -> TaskFrames:
    rows = np.random.default_rng(0).standard_normal((count, dim), dtype=np.float32)
    latents = Latents.from_arrays({"a": rows}, {"a": "s"})
    return WindowTask(context_frames=W, horizon=1).frames(latents, [0])


def mixture(model: Predictor, context: torch.Tensor) -> MixtureSameFamily:
    """The density of the same network as torch.distributions writes it."""
    density = model(context)
    components = Normal(density.component_means, density.component_log_sigmas.exp())
    return MixtureSameFamily(Categorical(logits=density.logits), Independent(components, 1))


def training(
    model: Predictor, frames: TaskFrames, config: TrainingConfig, steps: int, device: torch.device
) -> tuple[Work, Work]:
    """The losses of some steps, on the same batches from the same weights."""
    network, descended = copy.deepcopy(model), copy.deepcopy(model)
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
    )
    descent = Descent(descended, Training(config, 0, device, None, SILENT))

    def plain_step(context: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        loss = -mixture(network, context).log_prob(target).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), config.clip_norm)
        optimizer.step()
        return loss.detach()

    def plain() -> torch.Tensor:
        indices = sampling(config, len(frames), 0, 1)
        batches = (frames.batch(next(indices)) for _ in range(steps))
        return torch.stack(
            [plain_step(one.context.to(device), one.target.to(device)) for one in batches]
        )

    def ours() -> torch.Tensor:
        indices = sampling(config, len(frames), 0, 1)
        with prepared_batches(frames, indices, device) as batches:
            return torch.stack([descent.step(next(batches)) for _ in range(steps)])

    return plain, ours


def scoring(model: Predictor, frames: TaskFrames, device: torch.device) -> tuple[Work, Work]:
    """The NLL of every frame, in nats."""
    columns = {"nll": lambda prediction: -prediction.model.log_prob(prediction.target)}
    baseline = MixtureDensityNetwork(
        MdnOptions(components=1, width=1),
        context_frames=W,
        dim=frames.batch(np.array([0])).target.shape[1],
    )

    @torch.inference_mode()
    def plain() -> torch.Tensor:
        values = []
        for start in range(0, len(frames), SCORED_AT_ONCE):
            batch = frames.batch(np.arange(start, min(start + SCORED_AT_ONCE, len(frames))))
            density = mixture(model, batch.context.to(device))
            values.append(-density.log_prob(batch.target.to(device)).cpu())
        return torch.cat(values).double()

    def ours() -> torch.Tensor:
        scores = score(
            model,
            baseline,
            frames,
            columns,
            max_frames=len(frames),
            batch_size=SCORED_AT_ONCE,
            device=device,
        )
        return torch.from_numpy(scores["nll"])

    return plain, ours


def logmel(seconds: int, device: torch.device) -> tuple[Work, Work]:
    """The frames of noise, [1, frames, mels]."""
    encoder = LogMelEncoder(LogMelOptions(), Workspace())
    encoder.load(device)
    audio = torch.randn(1, 1, seconds * SAMPLE_RATE // encoder.hop * encoder.hop, device=device)
    lengths = torch.tensor([audio.shape[-1]], device=device)
    spectrogram = torchaudio.transforms.MelSpectrogram(
        SAMPLE_RATE,
        n_fft=FFT,
        win_length=WINDOW,
        hop_length=encoder.hop,
        n_mels=encoder.dim,
        center=False,
    ).to(device)
    beside = (FFT - WINDOW) // 2  # torch.stft centres a window that is shorter than the transform

    def plain() -> torch.Tensor:
        padded = F.pad(audio[:, 0], (WINDOW - encoder.hop + beside, beside))
        return (spectrogram(padded) + FLOOR).log().mT

    return plain, lambda: encoder.encode(audio, lengths)[0]


if __name__ == "__main__":
    main()
