"""Results that were never run: one figure of R²_I with its interval, by name of the encoder."""

import pytest

from latentbench.results.schema import EncoderFacts, Figure


@pytest.fixture
def make_submitted(make_result):
    """Make a result of one staleness whose R²_I is `value` within `half` of it."""

    def make(encoder, value, half=0.01, *, predictor="mdn-robust", protocol="lb1", **changes):
        result = make_result()
        figures = [
            Figure(
                split="eval",
                slice="all",
                name=name,
                value=scale * value,
                low=None if half is None else scale * (value - half),
                high=None if half is None else scale * (value + half),
                n=100,
                speakers=51,
                better="higher",
                unit="nats/frame" if name == "gain" else "",
            )
            for name, scale in (("r2i", 1.0), ("gain", 10.0))
        ]
        horizon = result.horizons[0].model_copy(update={"figures": tuple(figures), "parameters": 0})
        config = {**result.config, "predictor": {"name": predictor}}
        facts = EncoderFacts(name=encoder, dim=8, frame_rate=12.5, hop=1920, sample_rate=24_000)
        wanted = {"config": config, "encoder": facts, "horizons": (horizon,), "protocol": protocol}
        return result.model_copy(update=wanted | changes)

    return make


@pytest.fixture
def submit(tmp_path):
    """Write results into folders of their own below one; where that is."""

    def write(*results):
        for number, one in enumerate(results):
            folder = tmp_path / "sent" / f"r{number}"
            folder.mkdir(parents=True)
            text = one if isinstance(one, str) else one.to_json()
            (folder / "result.json").write_text(text, "utf-8")
        return tmp_path / "sent"

    return write
