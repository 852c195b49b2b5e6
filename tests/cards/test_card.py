"""A card as its reader has it: on the terminal, as JSON, and what is refused."""

import json
from dataclasses import replace

import pytest
from click.testing import CliRunner

import latentbench as lb
from latentbench.cli import main
from latentbench.reports.card import card_tables, directions_for, words_of_card

SMALL = ["--corpus", "white-noise", "--set", "corpus.speakers=6", "--set", "corpus.utterances=3"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("card")


@pytest.fixture(scope="module")
def card(place):
    return lb.card("logmel", corpus="white-noise", limit=18, cache=place, progress=False).record


@pytest.fixture
def invoke(place):
    def run(*arguments):
        return CliRunner().invoke(main, ["card", *arguments, "--cache", str(place)])

    return run


def test_a_card_is_read_in_words_and_in_tables(invoke):
    ended = invoke("logmel", *SMALL, "--set", "mels=8")
    assert ended.exit_code == 0, ended.output
    assert "The latents of logmel mels=8 on white-noise" in ended.stdout
    assert "12.5 frames a second of 8 dimensions" in ended.stdout
    assert "declared: 0 frames" in ended.stdout
    assert max(map(len, ended.stdout.splitlines())) <= 80


def test_every_figure_is_in_the_json(invoke):
    found = json.loads(invoke("logmel", *SMALL, "--set", "mels=8", "--json").stdout)
    assert (found["dim"], found["hop"], found["options"]) == (8, 1280, {"mels": "8"})
    assert len(found["statistics"]["dim_std"]) == 8
    assert sum(found["statistics"]["spectrum"]) == pytest.approx(1)
    assert found["heard"]["look_ahead"] == 0
    assert found["facts"]["constant_dims"] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["logmle"], "Did you mean 'logmel'"),
        (["logmel", "--set", "mell=8"], "'mell' is no option of the encoder 'logmel'"),
        (["logmel", "--set", "corpus.rot=1"], "'rot' is no option of the corpus"),
        (["latents"], "holds audio; the encoder 'latents' takes latents"),
    ],
)
def test_what_cannot_be_described_is_told(invoke, arguments, message):
    ended = invoke(*arguments)
    assert ended.exit_code == 2
    assert message in ended.stderr


def test_a_gain_that_may_be_0_is_not_called_one(card):
    first = card.predictable[0]
    for low, said in ((0.0, "nothing that can be told from 0"), (1e-9, "gains 0.40 nats")):
        sure = replace(first, gain=0.4, low=low, high=1.0)
        words = " ".join(words_of_card(replace(card, predictable=(sure,))))
        assert said in words


@pytest.mark.parametrize(
    ("bounds", "said"),
    [
        ("+ + 0", "From 320 ms of staleness on 3 speakers show no gain above 0."),
        ("+ 0 -", "From 160 ms of staleness on 3 speakers show no gain above 0."),
        ("+ 0 +", None),  # there is one beyond 80 ms
        ("+ + +", None),
        ("? ? ?", None),
    ],
)
def test_how_far_a_gain_can_be_told_from_0(card, bounds, said):
    known = {"+": (0.1, 2.0), "0": (-0.1, 2.0), "-": (-2.0, -0.1), "?": (None, None)}
    sure = [
        replace(card.predictable[0], ms=80.0 * 2**number, gain=1.0, low=low, high=high, speakers=3)
        for number, (low, high) in enumerate(known[one] for one in bounds.split())
    ]
    words = " ".join(words_of_card(replace(card, predictable=tuple(sure))))
    assert (said in words) if said else ("show no gain" not in words)


def test_files_are_not_called_speakers(card):
    told = replace(card, sampled="files")
    cells = [str(cell) for table in card_tables(told) for row in table.rows for cell in row]
    words = " ".join((*words_of_card(told), *cells))
    assert "on files that it has not seen" in words
    assert "speaker" not in words
    assert "speaker" in " ".join(words_of_card(card))


@pytest.mark.parametrize(("declared", "measured"), [(2, 0), (0, 2)])
def test_a_context_that_has_seen_the_target_predicts_nothing(card, declared, measured):
    found = [
        replace(card.predictable[0], frames=k, ms=80.0 * k, gain=float(k), low=0.5, high=9.0)
        for k in (1, 2, 4)
    ]
    heard = replace(card.heard, look_ahead=measured)
    changed = replace(card, look_ahead=declared, heard=heard, predictable=tuple(found))
    told = [one for one in words_of_card(changed) if "predict" in one]
    assert told[0].startswith("Up to 160 ms of staleness nothing is predicted")
    assert "a linear prediction of the frame 320 ms later gains 4.00 nats" in told[1]
    (by_lag,) = (one for one in card_tables(changed) if one.title.startswith("By lag"))
    assert by_lag.keys[-1].cells[:3] == ("leaky", "leaky", "")
    assert not any(one.cells[0] == "leaky" for one in list(card_tables(card))[1].keys)


def test_without_an_encoder_there_is_no_card():
    with pytest.raises(lb.UsageError, match="needs an encoder"):
        lb.card(corpus="white-noise")


def test_how_many_directions_hold_a_part():
    assert directions_for([0.5, 0.4, 0.1], 0.9) == 2
    assert directions_for([0.25] * 4, 0.9) == 4
    assert directions_for([0.0, 0.0], 0.9) is None
