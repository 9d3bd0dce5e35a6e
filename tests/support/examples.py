"""Sections of experiments; tests concatenate them: ``independent(0.8, 0.7) + TWO_DEEP``.

Keys that a test appends belong to the last section: ``TWO_DEEP + noise(0.3)``.
"""

TWO_DEEP = """\
[latency]
target = 76
verify = [90, 104]
draft = [8, 14]
"""
THREE_DEEP = """\
[latency]
target = 76
verify = [90, 104, 117]
draft = [8, 14, 22]
"""


def independent(*rates):
    return f'[acceptance]\nmodel = "independent"\nrates = {list(rates)}\n'


def regime(*rates, sojourn, clock="round"):
    """Hidden states with a row of rates each."""
    head = f'[acceptance]\nmodel = "regime"\nclock = "{clock}"\n'
    return head + f"rates = {list(rates)}\nsojourn = {sojourn}\n"


def noise(cv, distribution="lognormal"):
    return f'noise = {{ distribution = "{distribution}", cv = {cv} }}\n'


def linear(base, per_token, draft):
    """Times by batch; ``draft``: ms a drafted token."""
    head = f'[latency]\nmodel = "linear"\nbase = {base}\nper_token = {per_token}\n'
    return head + f"draft = {{ base = 0, per_token = {draft} }}\n"


STRETCHES = regime([0.95, 0.9], [0.4, 0.3], sojourn=[20, 20])
# For tests of interrupted, merged and resumed runs.
LONG_RUN = STRETCHES + TWO_DEEP + noise(0.3) + "[simulation]\nrounds = 40\n"
