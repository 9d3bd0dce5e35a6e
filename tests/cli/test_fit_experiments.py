"""An experiment is written as deep as its times go; it must be valid at the depth of the log."""

import pytest

from mtpsim.cli.fit_experiments import write_deepest
from mtpsim.common.errors import InputError
from tests.support.examples import independent, latency


def text_with(times):
    """Rates of a depth, with times of ``times`` depths."""
    return lambda depth: independent(*[0.7] * depth) + latency(10, [11] * times, [1] * times)


@pytest.mark.parametrize(("times", "written"), [(5, 5), (3, 3), (2, 2)])
def test_the_deepest_valid_experiment_is_written(times, written, tmp_path):
    path, text_at = tmp_path / "e.toml", text_with(times)
    write_deepest(path, text_at, deepest=5, known=2)
    assert path.read_text() == text_at(written)


def test_an_experiment_that_is_invalid_at_the_depth_of_the_log_is_refused(tmp_path):
    path = tmp_path / "e.toml"
    with pytest.raises(InputError, match="latency"):
        write_deepest(path, text_with(1), deepest=5, known=2)
    assert not path.exists()
