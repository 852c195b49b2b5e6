"""Makes docs/example: a leaderboard of runs on an hour of LibriSpeech.

python docs/make_example.py DATA, a folder with LibriSpeech/train-clean-5 and
lyra/soundstream_encoder.tflite. The runs stay in runs/example, and are not made again.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import latentbench as lb

DOCS = Path(__file__).parent
PUBLISHED = Path("runs", "published")
LIMIT = 64  # utterances, of all speakers in turn


def main(data: Path) -> None:
    """Make the runs, publish them, and build the site."""
    weights = data / "lyra" / "soundstream_encoder.tflite"
    compared = lb.compare(
        encoders={
            "soundstream": {"name": "soundstream", "weights": str(weights)},
            "logmel": {"name": "logmel"},
            "encodec-random": {"name": "encodec-24k", "weights": "random"},
        },
        predictors=["linear", "persistence"],
        preset="quick",
        corpus={
            "name": "librispeech",
            "root": str(data / "LibriSpeech"),
            "subset": "train-clean-5",
        },
        limit=LIMIT,
        set=["task.context_ms=160"],  # so little audio is too little for a longer one
        out=Path("runs", "example"),
    )
    shutil.rmtree(DOCS / "example", ignore_errors=True)
    for one in compared.record.runs:
        lb.publish(one.folder, PUBLISHED)
    lb.leaderboard([PUBLISHED], DOCS / "example")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
