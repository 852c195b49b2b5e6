"""Every way to break the contracts of the other kinds is found, named and explained."""

import pytest

# (kind, component) -> the check that finds it, how, and what the finding says.
BROKEN = {
    ("metric", "NoDirection"): ("declares", "fail", "came 'best'"),
    ("metric", "ColumnPerDimension"): ("columns", "fail", "shape [50]; came shape [50, 6]"),
    ("metric", "AsksForMore"): ("needs", "fail", "needs to name log_prob, which its columns ask"),
    ("metric", "NeedsByLetter"): ("declares", "fail", "needs among log_prob, mean, sample"),
    ("metric", "StatisticOfOthers"): ("statistic", "fail", "a statistic of error; came one of nll"),
    ("metric", "StatisticByName"): ("statistic", "fail", "statistics.Statistic; came str"),
    ("metric", "InfiniteFigure"): ("statistic", "fail", "a finite number; came inf"),
    ("metric", "CentredTerms"): ("counts", "fail", "as of frames written out so often; came"),
    ("metric", "FirstFrames"): ("counts", "fail", "as of frames written out so often; came"),
    ("corpus", "NoUtterances"): ("lists", "fail", "expected at least one utterance; came none"),
    ("corpus", "OneId"): ("ids", "fail", "expected unique ids"),
    ("corpus", "NoSpeaker"): ("describes", "fail", "expected a speaker of utterance 'u0'"),
    ("corpus", "OneSpeaker"): ("describes", "warn", "a single speaker"),
    ("corpus", "RandomIds"): ("stable", "fail", "the same 4 utterances from another instance"),
    ("corpus", "DecodesAtOnce"): ("listing_decodes_nothing", "fail", "4 calls of ['Tone.read']"),
    ("corpus", "NumberInIdentity"): ("identity", "fail", "came {'tones': 4}"),
    ("corpus", "DigestsDiffer"): ("digests", "fail", "of 'u0' again"),
    ("corpus", "FlatAudio"): ("audio", "fail", "of shape [channels, samples]; came [1600]"),
    ("corpus", "LengthsWrong"): ("audio", "fail", "of 2.000 s at 16000 Hz; came 0.100 s"),
    ("factorization", "SeesTheFuture"): ("causal", "fail", "before frames that were changed"),
    ("factorization", "DecodesBackwards"): ("decodes", "fail", "before states that were changed"),
    ("factorization", "FitsOnAll"): ("train_only", "fail", "'total' as it was"),
    ("factorization", "FitsAtRandom"): ("learns_the_same", "fail", "'drawn' as it was"),
    ("factorization", "ForgetsDim"): ("restores_states", "fail", "dim 16; came 0"),
    ("factorization", "HalfAState"): ("encodes", "fail", "[80, 3]"),
    ("factorization", "CountsOnce"): ("accounts", "fail", "innovation"),
    ("transform", "SeesEval"): ("train_only", "fail", "'scale' as it was; came other values"),
    ("transform", "ForgetsState"): ("restores", "fail", "from the restored one"),
    ("transform", "ByBatch"): ("row_by_row", "fail", "rows gathered a few at a time"),
    ("transform", "DividesByZero"): ("applies", "fail", "came 1920 of 1920 values not finite"),
    ("engine", "StopsAtFailure"): ("every_outcome", "fail", "each of [1, 2, 4]; came [1, 2]"),
    ("engine", "RaisesFailure"): ("every_outcome", "fail", "this cell fails on purpose"),
    ("engine", "SwallowsText"): ("every_outcome", "fail", "of cell 2; came 'failed'"),
    ("reporter", "WritesNothing"): ("writes", "fail", "a report on the console; came nothing"),
    ("reporter", "PrintsPastConsole"): ("writes", "fail", "came 'done\\n'"),
    ("reporter", "WideLines"): ("fits", "warn", "a line of 100 columns"),
    ("reporter", "NeedsRollout"): ("odd_results", "fail", "raised AttributeError"),
}
KINDS = sorted({kind for kind, _ in BROKEN})


@pytest.mark.parametrize(("kind", "name"), BROKEN)
def test_what_is_broken_is_found_and_whose_it_is(check, kind, name):
    expected_check, status, text = BROKEN[kind, name]
    found = check(kind, name)[expected_check]
    assert (found.status, text in found.detail) == (status, True), found
    assert f"{kind} '{name}' of " in str(found)


@pytest.mark.parametrize("kind", KINDS)
def test_a_sound_component_passes_every_check(check, kind):
    findings = check(kind, f"Sound{kind.capitalize()}").values()
    assert [(f.check, f.detail) for f in findings if f.status != "pass"] == []
