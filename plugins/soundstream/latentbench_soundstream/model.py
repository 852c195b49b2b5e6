"""The TensorFlow Lite model: read once, run from a fresh state for every utterance."""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter  # type: ignore[import-untyped]

from latentbench.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["SoundStreamModel"]

# A first interpreter says so once per process, from C++, on the standard error stream.
_CHATTER = b"INFO: "


class SoundStreamModel:
    """A streaming encoder of one hop per call.

    Attributes:
        digest: sha256 of the model file.
        hop: samples per frame.
        dim: D.
        step: distance of the output's lattice points; 0.0 where the output is not quantized.

    Raises:
        UsageError: the file cannot be read or is no model of one hop in, one frame out.
    """

    def __init__(self, file: Path) -> None:
        try:
            self._content = file.read_bytes()
        except OSError as error:
            raise UsageError(
                f"The SoundStream weights '{file}' cannot be read: {error.strerror}.",
                "Pass the path of Lyra's soundstream_encoder.tflite: "
                "--set encoder.weights=/path/to/soundstream_encoder.tflite",
            ) from None
        self.digest = hashlib.sha256(self._content).hexdigest()
        with _without_chatter():
            interpreter = self._interpreter(file)
        given, made = interpreter.get_input_details(), interpreter.get_output_details()
        shapes = [tuple(int(n) for n in tensor["shape"]) for tensor in (*given, *made)]
        match shapes:
            case [(1, hop), (1, 1, dim)]:
                self.hop, self.dim = hop, dim
            case _:
                raise UsageError(
                    f"'{file}' is a TensorFlow Lite model with tensors of shape {shapes}, "
                    "expected one input [1, hop] and one output [1, 1, D].",
                    "Of Lyra's models, soundstream_encoder.tflite is the one to pass.",
                )
        self._input, self._output = int(given[0]["index"]), int(made[0]["index"])
        self.step = _lattice_step(interpreter, made[0])

    def run(self, audio: NDArray[np.float32]) -> NDArray[np.float32]:
        """The frames of one utterance from a fresh state.

        `reset_all_variables` leaves the state as it was, so each call makes an interpreter;
        one thread each, because the kernels for several threads compute other values.
        Interpreters share nothing and release the interpreter lock: calls may run in parallel.

        Args:
            audio: float32 [F · hop].

        Returns:
            float32 [F, D].
        """
        hops = np.ascontiguousarray(audio, dtype=np.float32).reshape(-1, 1, self.hop)
        frames = np.empty((len(hops), self.dim), dtype=np.float32)
        interpreter = self._interpreter()
        for t, hop in enumerate(hops):
            interpreter.set_tensor(self._input, hop)
            interpreter.invoke()
            frames[t] = interpreter.get_tensor(self._output)[0, 0]
        return frames

    def _interpreter(self, file: Path | None = None) -> Any:
        try:
            interpreter = Interpreter(model_content=self._content, num_threads=1)
            interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise UsageError(
                f"'{file}' is no TensorFlow Lite model: {error}.",
                "It may be truncated, or a Git LFS pointer. Fetch soundstream_encoder.tflite "
                "of google/lyra again.",
            ) from None
        return interpreter


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
