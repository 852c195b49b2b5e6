"""The experiments behind docs/protocol.md and docs/models.md, on latents of your own.

    python benchmarks/variants.py protocol LATENTS --frame-rate 50 --device cuda --workers 6
    python benchmarks/variants.py heads LATENTS --frame-rate 50 --device cuda --workers 6

LATENTS is a folder of `SPEAKER/UTTERANCE.npy`, each [T, D]. `protocol` varies one choice of lb1 at
a time, `heads` the predictor. Both print a Markdown table of the gain in nats a frame at the
staleness asked for, with its interval over eval speakers, steps to convergence and seconds.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

import latentbench as lb

LB1 = {"preset": "lb1", "seed": 0, "split": {"eval_fraction": 0.25}, "rollout": {"utterances": 0}}
PROTOCOL = {
    "lb1": {},
    "seed 1": {"seed": 1},
    "seed 2": {"seed": 2},
    "latents times a random invertible matrix": {"mapped": True},
    "utterances listed in another order": {"shuffled": True},
    "not whitened": {"transforms": []},
    "standardised, not whitened": {"transforms": ["standardize"]},
    "at most 50,000 steps": {"steps": 50_000},
    "patience of 10 evaluations": {"training": {"patience": 10}},
    "the last weights of 25,000 steps": {"training": {"select": "last"}},
    "frames in stream order": {"training": {"sampling": "stream"}},
    "context of 160 ms": {"task": {"context_ms": 160.0}},
    "context of 2,560 ms": {"task": {"context_ms": 2560.0}},
    "width 256": {"predictor": {"name": "mdn-robust", "width": 256}},
}
TRANSFORMER = {"name": "neural", "backbone": "transformer"}
HEADS = {
    "mdn-robust": {"name": "mdn-robust"},
    "mdn": {"name": "mdn"},
    "linear": {"name": "linear"},
    "neural, mlp, gaussian": {"name": "neural", "head": "gaussian"},
    "neural, mlp, mdn": {"name": "neural", "head": "mdn"},
    "neural, mlp, student": {"name": "neural", "head": "student"},
    "neural, mlp, flow": {"name": "neural", "head": "flow"},
    "neural, mlp, flow-matching": {"name": "neural", "head": "flow-matching"},
    "neural, mlp, energy": {"name": "neural", "head": "energy"},
    "neural, mlp, lsd": {"name": "neural", "head": "lsd"},
    "neural, mlp, diffusion": {"name": "neural", "head": "diffusion"},
    "neural, mlp, denoiser": {"name": "neural", "head": "denoiser"},
    "neural, gru, mdn": {"name": "neural", "backbone": "gru", "head": "mdn"},
    "neural, transformer, mdn": {**TRANSFORMER, "head": "mdn"},
    "neural, transformer, energy": {**TRANSFORMER, "head": "energy"},
}
COLUMNS = {"gain": 2, "r2i": 3, "energy_skill": 3, "spread_skill": 2}


def arrays_of(folder: Path, *, mapped: bool, shuffled: bool) -> dict[str, np.ndarray]:
    """Utterance -> [T, D], as they are or changed in what the gain must not depend on."""
    found = {f"{file.parent.name}/{file.stem}": np.load(file) for file in folder.glob("*/*.npy")}
    names = sorted(found)
    random = np.random.default_rng(0)
    if shuffled:
        names = [names[index] for index in random.permutation(len(names))]
    if mapped:
        dim = found[names[0]].shape[1]
        matrix = random.normal(size=(dim, dim)) / np.sqrt(dim)
        found = {name: (one @ matrix).astype(np.float32) for name, one in found.items()}
    return {name: found[name] for name in names}


def measure(arguments: argparse.Namespace, name: str, changes: dict) -> dict:
    """Run one variant in a process of its own; what the table shows of it."""
    changes = dict(changes)
    how = {key: changes.pop(key, False) for key in ("mapped", "shuffled")}
    arrays = arrays_of(arguments.latents, **how)
    settings = dict(LB1) | {"task": {"horizons_ms": arguments.ms}}
    for key, value in changes.items():
        both = isinstance(value, dict) and isinstance(settings.get(key), dict)
        settings[key] = {**settings[key], **value} if both else value
    if arguments.steps:
        settings["steps"] = arguments.steps
    folder = arguments.out / name.replace(" ", "-").replace(",", "")
    started = time.monotonic()
    result = lb.run(
        latents=arrays,
        speakers={one: one.split("/")[0] for one in arrays},
        frame_rate=arguments.frame_rate,
        out=folder,
        cache=arguments.out / "cache" / folder.name,
        device=arguments.device,
        progress=False,
        **settings,
    )
    found = {"name": name, "seconds": time.monotonic() - started, "rows": {}}
    for horizon in result.record.horizons:
        ends = [one for ones in horizon.convergence.values() for one in ones]
        row = {column: horizon.find("eval", "all", column) for column in COLUMNS}
        row["steps"] = "/".join(f"{one.steps:,}" for one in ends)
        row["converged"] = all(one.converged is not False for one in ends)
        row["fit"] = horizon.seconds.get("fit", 0.0)
        found["rows"][horizon.milliseconds] = row
    return found


def cell(figure: object, decimals: int) -> str:
    """A figure with its interval."""
    if figure is None or not figure.n:
        return "-"
    text = f"{figure.value:.{decimals}f}"
    if figure.low is None:
        return text
    return f"{text} ({figure.low:.{decimals}f} to {figure.high:.{decimals}f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["protocol", "heads"])
    parser.add_argument("latents", type=Path)
    parser.add_argument("--frame-rate", type=float, required=True)
    parser.add_argument("--ms", type=float, nargs="+", default=[80.0, 320.0])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--steps", type=int, default=0, help="at most; 0: as lb1 says")
    parser.add_argument("--out", type=Path, default=Path("runs/variants"))
    parser.add_argument("--only", nargs="*", default=[])
    arguments = parser.parse_args()
    variants = PROTOCOL if arguments.what == "protocol" else HEADS
    asked = {
        name: change if arguments.what == "protocol" else {"predictor": change}
        for name, change in variants.items()
        if not arguments.only or name in arguments.only
    }
    print("| variant | ms | gain | R²_I | energy skill | spread/skill | steps | fit s |")
    print("|---|---:|---|---|---|---|---|---:|", flush=True)
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(arguments.workers, mp_context=spawn) as pool:
        waiting = [pool.submit(partial(measure, arguments), *one) for one in asked.items()]
        for name, one in zip(asked, waiting, strict=True):
            try:
                found = one.result()
            except Exception as error:  # noqa: BLE001 - the others go on
                print(f"| {name} | failed: {error} |", flush=True)
                continue
            for ms, row in found["rows"].items():
                figures = " | ".join(cell(row[key], digits) for key, digits in COLUMNS.items())
                steps = row["steps"] + ("" if row["converged"] else " (not converged)")
                print(f"| {name} | {ms:g} | {figures} | {steps} | {row['fit']:.0f} |", flush=True)
            print(f"{name}: {found['seconds']:.0f} s", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
