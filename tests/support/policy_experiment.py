"""An experiment with policies, for tests of the report."""

from tests.support.examples import TWO_DEEP, regime

FILE = f"""\
title = "two regimes"
{regime([0.95, 0.93], [0.3, 0.2], sojourn=[30, 20])}
{TWO_DEEP}
[simulation]
requests = 200
[adaptive]
policies = ["heuristic", "goodput", "off", "filter"]
"""
