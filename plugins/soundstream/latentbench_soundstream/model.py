"""Lyra's TensorFlow Lite models: each read once, run from a fresh state for every utterance."""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from ai_edge_litert.interpreter import Interpreter  # type: ignore[import-untyped]

from latentbench.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["LyraGan", "SoundStreamModel"]

# A first interpreter says so once per process, from C++, on the standard error stream.
_CHATTER = b"INFO: "


class _StreamingModel:
    """A TensorFlow Lite model of one hop per call, with a state between calls.

    Attributes:
        asset: what Lyra calls its file.
        sha256: of the published one.
        option: the option of the encoder that names it.
        expected: what an error says of the shapes it must have.
        direction: 1 from hops to frames, -1 from frames to hops.
        digest: sha256 of the model file.
        hop: samples per frame.
        dim: D.

    Raises:
        UsageError: the file cannot be read or is another model.
    """

    asset: ClassVar[str]
    sha256: ClassVar[str]
    option: ClassVar[str]
    expected: ClassVar[str]
    direction: ClassVar[int] = 1

    def __init__(self, file: Path) -> None:
        try:
            self._content = file.read_bytes()
        except OSError as error:
            raise UsageError(
                f"The SoundStream {self.option} '{file}' cannot be read: {error.strerror}.",
                f"Pass the path of Lyra's {self.asset}: "
                f"--set encoder.{self.option}=/path/to/{self.asset}",
            ) from None
        self.digest = hashlib.sha256(self._content).hexdigest()
        with _without_chatter():
            interpreter = self._interpreter(file)
        given, made = interpreter.get_input_details(), interpreter.get_output_details()
        shapes = [tuple(int(n) for n in tensor["shape"]) for tensor in (*given, *made)]
        match shapes[:: self.direction]:
            case [(1, hop), (1, 1, dim)]:
                self.hop, self.dim = hop, dim
            case _:
                raise UsageError(
                    f"'{file}' is a TensorFlow Lite model with tensors of shape {shapes}, "
                    f"expected {self.expected}.",
                    f"Of Lyra's models, {self.asset} is the one to pass.",
                )
        self._given, self._made = shapes
        self._input, self._output = int(given[0]["index"]), int(made[0]["index"])
        self.step = _lattice_step(interpreter, made[0])

    def run(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """What a fresh state makes of one utterance: of each hop [F, hop] a frame [F, D], or back.

        `reset_all_variables` leaves the state as it was, so each call makes an interpreter;
        one thread each, because the kernels for several threads compute other values.
        Interpreters share nothing and release the interpreter lock: calls may run in parallel.
        """
        interpreter = self._interpreter()
        made = np.empty((len(rows), self._made[-1]), np.float32)
        for one, row in enumerate(np.ascontiguousarray(rows, dtype=np.float32)):
            interpreter.set_tensor(self._input, row.reshape(self._given))
            interpreter.invoke()
            made[one] = interpreter.get_tensor(self._output).reshape(-1)
        return made

    def _interpreter(self, file: Path | None = None) -> Any:
        try:
            interpreter = Interpreter(model_content=self._content, num_threads=1)
            interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise UsageError(
                f"'{file}' is no TensorFlow Lite model: {error}.",
                f"It may be truncated, or a Git LFS pointer. Fetch {self.asset} "
                "of google/lyra again.",
            ) from None
        return interpreter


class SoundStreamModel(_StreamingModel):
    """The encoder.

    Attributes:
        step: distance of the output's lattice points; 0.0 where the output is not quantized.
    """

    asset = "soundstream_encoder.tflite"
    sha256 = "237da0b16226fb0a68d49551c81bebf614e42142af72764448359f68581e88f1"
    option = "weights"
    expected = "one input [1, hop] and one output [1, 1, D]"


class LyraGan(_StreamingModel):
    """The decoder."""

    asset = "lyragan.tflite"
    sha256 = "50e7839cda4f30599a3a34cfaddcd9c98449b049eee884e1a74295780448ad06"
    option = "decoder"
    expected = "one input [1, 1, D] and one output [1, hop]"
    direction = -1


def _lattice_step(interpreter: Any, output: dict[str, Any]) -> float:
    """The quantization scale of the tensor that the output is dequantized from.

    It is the last integer tensor of the output's shape.
    """
    steps = [
        float(tensor["quantization"][0])
        for tensor in interpreter.get_tensor_details()
        if tensor["dtype"] == np.int8
        and np.array_equal(tensor["shape"], output["shape"])
        and tensor["index"] < output["index"]
    ]
    return steps[-1] if steps else 0.0


@contextmanager
def _without_chatter() -> Iterator[None]:
    """Hold back what native code writes to standard error; pass on all but its chatter.

    The library has no switch for its log level in Python, and its line would land in the
    middle of a progress bar.
    """
    sys.stderr.flush()
    try:
        saved = os.dup(2)
    except OSError:  # a process without a standard error stream has none to protect
        yield
        return
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            held.seek(0)
            for line in held:
                if not line.startswith(_CHATTER):
                    os.write(2, line)
