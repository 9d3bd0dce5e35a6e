"""Types that every package shares: arrays and plain JSON or TOML data."""

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
JsonDict = dict[str, Any]
"""A table as ``json`` or ``tomllib`` reads it; used at the edges of the package only."""
