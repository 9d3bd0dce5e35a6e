"""Laws of the confidence from pairs: quality by definition, and the laws of a simulated draft."""

import json
import tomllib

import numpy as np
import pytest

from mtpsim.common.errors import InputError
from mtpsim.fit.confidence import Pairs, Quality, confidence_section, law, read_pairs, reliability
from mtpsim.policy.confidence import Confidence, ConfidenceLaw
from tests.support.naive_policies import drawn_confidence

CSV = "position,confidence,accepted\n1,0.9,1\n1,0.4,0\n2,0.8,true\n2,0.8,false\n"
ROUNDS = '{"confidence": [0.9, 0.8, 0.3], "accepted": 1}\n{"confidence": [1, 0.7], "accepted": 2}\n'


def written(tmp_path, text, name="pairs.csv"):
    path = tmp_path / name
    path.write_text(text)
    return path


def test_csv_and_rounds_are_read_up_to_the_rejection(tmp_path):
    pairs = read_pairs(written(tmp_path, CSV))
    assert pairs.accepted.tolist() == [True, False, True, False]
    pairs = read_pairs(written(tmp_path, ROUNDS))
    assert pairs.confidence.tolist() == [0.9, 0.8, 1.0, 0.7]
    assert pairs.accepted.tolist() == [True, False, True, True]
    assert pairs.position.tolist() == [1, 2, 1, 2]


def drafts(seed=3, count=20_000, **keys):
    """Pairs of a draft with a known law, by the mechanism."""
    rng, found = np.random.default_rng(seed), ConfidenceLaw.model_validate(keys)
    outcomes = rng.random(count) < found.acceptance_rate()
    values = np.array([drawn_confidence(rng, found, accepted) for accepted in outcomes])
    return Pairs(values, outcomes, np.zeros(count, np.int64)), found


def test_quality_by_definition():
    pairs, _ = drafts(mean=1.0, sd=1.5, shift=-1.0, count=2000)
    quality, (counts, confidence, accepted) = Quality.of(pairs), reliability(pairs)
    good, bad = pairs.confidence[pairs.accepted], pairs.confidence[~pairs.accepted]
    higher = (good[:, None] > bad).mean() + 0.5 * (good[:, None] == bad).mean()
    assert quality.auc == pytest.approx(higher, abs=1e-12)
    inside = (pairs.confidence >= 0.6) & (pairs.confidence < 0.7)
    assert counts[6] == inside.sum()
    assert accepted[6] == pytest.approx(pairs.accepted[inside].mean())
    assert quality.calibration_error == pytest.approx(
        (counts * np.abs(confidence - accepted)).sum() / 2000
    )
    assert quality.calibration_error > 0.1
    calibrated, _ = drafts(mean=1.0, sd=1.5, count=20_000)
    assert Quality.of(calibrated).calibration_error < 0.02


def test_fitted_law_is_that_of_the_draft():
    """Negative control: the outcomes exchanged."""
    pairs, true = drafts(mean=1.0, sd=1.5, shift=-0.5, at_one=[0.3, 0.1])
    fitted = Confidence.model_validate(law(pairs)).tables()[:, 0, 0, 100:-100]
    assert fitted == pytest.approx(true.quantiles()[:, 100:-100], abs=0.03)
    assert np.abs(fitted[::-1] - true.quantiles()[:, 100:-100]).max() > 0.3


def test_positions_have_laws_of_their_own_if_all_have_enough_pairs(tmp_path):
    many = CSV + "".join(CSV.partition("\n")[2] for _ in range(60))
    section = confidence_section(read_pairs(written(tmp_path, many)))
    assert [part["accepted"][-1] for part in section["positions"]] == [61, 61]
    assert "positions" not in confidence_section(read_pairs(written(tmp_path, CSV)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("confidence,accepted\n0.9,2\n", ":2: '2' is given for 'accepted'; it must be 0 or 1"),
        ("confidence,accepted\n1.9,1\n", ":2: 1.9 is given for 'confidence'; it must be from 0"),
        (
            '{"confidence": [0.9], "accepted": 2}\n',
            ":1: 2 is given for 'accepted'; it must be 0 to 1",
        ),
        ("confidence,accepted\n0.9,1\n", "1 accepted and 0 rejected drafts are given"),
    ],
)
def test_errors(tmp_path, text, message):
    with pytest.raises(InputError) as caught:
        read_pairs(written(tmp_path, text))
    assert message in str(caught.value)


def test_command_writes_section_report_and_figure(tmp_path, cli):
    path = written(tmp_path, CSV)
    out = tmp_path / "confidence.toml"
    done = cli("fit", path, "-o", out)
    assert done.code == 0
    assert "AUC" in done.err
    section = tomllib.loads(out.read_text())["adaptive"]["confidence"]
    assert Confidence.model_validate(section)
    assert json.loads(out.with_suffix(".json").read_text())["quality"]["all"]["pairs"] == 4
    assert out.with_suffix(".png").stat().st_size > 5000
