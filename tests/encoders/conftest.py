import importlib.util
import json
from pathlib import Path

import pytest
from safetensors.torch import save_file

from latentbench.encoders.mimi import MimiEncoder
from latentbench.encoders.plugin import MimiOptions
from latentbench.workspace import Workspace


def load_reference():
    path = Path(__file__).with_name("mimi_reference.py")
    spec = importlib.util.spec_from_file_location("mimi_reference", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def reference():
    """The second implementation of Mimi."""
    return load_reference()


@pytest.fixture(scope="session")
def small_weights(reference):
    return reference.random_weights(reference.SMALL)


@pytest.fixture(scope="session")
def small_folder(reference, small_weights, tmp_path_factory):
    """A checkpoint of a narrow Mimi with every weight random, as a user's local folder."""
    folder = tmp_path_factory.mktemp("mimi-small")
    save_file(small_weights, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(reference.SMALL), "utf-8")
    return folder


@pytest.fixture(scope="session")
def pocket_weights(reference):
    return reference.random_weights(reference.POCKET_TTS_SMALL, seed=5)


@pytest.fixture(scope="session")
def pocket_folder(reference, pocket_weights, tmp_path_factory):
    """A narrow codec of Pocket TTS, every weight random, as transformers saves it."""
    folder = tmp_path_factory.mktemp("pocket-tts-small")
    saved = {}
    for name, tensor in pocket_weights.items():
        inner = f"encoder_seanet.{name.removeprefix('encoder.')}"
        saved[f"encoder.{inner if name.startswith('encoder.') else name}"] = tensor
    save_file(saved, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(reference.POCKET_TTS_SMALL), "utf-8")
    return folder


@pytest.fixture
def mimi(small_folder):
    """Makes a loaded encoder from options; the narrow checkpoint unless `weights` is given."""

    def make(device="cpu", **options):
        import torch

        options = {"weights": str(small_folder), **options}
        encoder = MimiEncoder(MimiOptions(**options), Workspace())
        encoder.load(torch.device(device))
        return encoder

    return make
