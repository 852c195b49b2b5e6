from __future__ import annotations

import subprocess
import sys

from latentbench.corpora.plugin import latentbench_corpora
from latentbench.specs import option_fields


def test_listing_imports_nothing_heavy():
    program = (
        "import sys; from latentbench.corpora.plugin import latentbench_corpora; "
        "list(latentbench_corpora()); "
        "heavy = {'torch', 'numpy', 'pydantic', 'soundfile', 'httpx', 'espeakng_loader'}; "
        "print(*sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("\n", "")


def test_every_option_has_help_and_a_default():
    specs = list(latentbench_corpora())
    assert [spec.name for spec in specs] == [
        "librispeech",
        "folder",
        "speech-demo",
        "white-noise",
        "latents-folder",
        "kaldi",
        "lhotse",
        "webdataset",
        "hf",
    ]
    for spec in specs:
        assert spec.licence
        for option in option_fields(spec.options):
            assert option.help, f"{spec.name}.{option.name}"
            assert not option.required
