"""Sample logs of every format, and the error message for a log that is refused."""

import pytest

from mtpsim.common.errors import InputError
from mtpsim.logs import read_logs
from mtpsim.logs.write import WRITERS
from tests.support.examples import THREE_DEEP, noise, regime, simulation

RATES = regime([0.9, 0.85, 0.8], [0.5, 0.4, 0.3], sojourn=[20, 20])
EXPERIMENT = RATES + THREE_DEEP + noise(0.1) + simulation(tokens=200)
GOOD = {
    "completion_tokens": 106,
    "spec_num_correct_drafts": 63,
    "spec_num_proposed_drafts": 215,
    "spec_verify_ct": 43,
    "spec_correct_drafts_histogram": [11, 14, 11, 4, 0, 3],
}


def written(tmp_path, form, requests, name="sample"):
    path = tmp_path / name
    path.write_text("".join(WRITERS[form](requests)))
    return path


def refused(tmp_path, text, name="log", **options):
    paths = [tmp_path / name]
    if text is not None:
        paths[0].write_text(text)
    with pytest.raises(InputError) as caught:
        read_logs(paths, **options)
    return str(caught.value)


WINDOW = (
    "SpecDecoding metrics: Mean acceptance length: {length:.2f}, Accepted throughput: 1.0 "
    "tokens/s, Drafted throughput: 1.0 tokens/s, Accepted: {accepted} tokens, Drafted: {drafted} "
    "tokens, Per-position acceptance rate: {rates}, Avg Draft acceptance rate: 1.0%\n"
)


def windows(*counts):
    """Log windows of rounds and accepted drafts by position."""
    return "".join(
        WINDOW.format(
            length=1 + sum(hits) / rounds,
            accepted=sum(hits),
            drafted=rounds * len(hits),
            rates=", ".join(f"{n / rounds:.3f}" for n in hits),
        )
        for rounds, hits in counts
    )
