"""An experiment with uncertain inputs, for tests."""

from tests.support.examples import THREE_DEEP, independent

HEAD = independent(0.80, 0.74, 0.67) + THREE_DEEP + "[simulation]\nrequests = 2000\n"


KNOWN = """
[uncertainty]
draws = 400
[uncertainty.inputs]
"acceptance.rates" = { tried = [150, 120, 89] }
"latency.target" = { se = 3 }
"latency.verify" = { se = [2, 2, 3] }
"""


SETS = """
[robust]
"acceptance.rates" = { plus_minus = 0.05 }
"latency.draft" = [[6, 11, 17], [10, 18, 28]]
"""
