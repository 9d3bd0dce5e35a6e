"""``copula``: drafts of a round that are correlated, through a joint normal law."""

from typing import Literal, Self

import numpy as np
from pydantic import Field, model_validator

from mtpsim.acceptance.base import Rated, within_round
from mtpsim.acceptance.chain import AcceptanceChain
from mtpsim.acceptance.orthant import ar1_orthants, equal_orthants, matrix_orthants
from mtpsim.common.arrays import Floats
from mtpsim.common.errors import FieldError
from mtpsim.formula.closed_form import conditional_from

SHARP = 0.99  # beyond it quadrature on an even grid is too coarse


class Copula(Rated):
    """Marginal would-be rates m_j, and normal scores Z_j with a correlation.

    Draft j would be accepted where Z_j <= z_j, with P(Z_j <= z_j) = m_j: whatever became of the
    drafts before it. Rounds are independent of each other.
    """

    model: Literal["copula"]
    rates_are: Literal["marginal"] = Field(
        "marginal", description="P(draft j would be accepted), whatever became of 1..j-1"
    )
    correlation: float | list[list[float]] = Field(
        description="between normal scores: a number, or a full matrix"
    )
    structure: Literal["equal", "ar1"] = Field(
        "equal", description="a number holds for each pair, or to the power of their distance"
    )

    @model_validator(mode="after")
    def _positive_definite(self) -> Self:
        size = self.given().size
        if isinstance(self.correlation, list):
            self._check_matrix(self.correlation, size)
        elif not -1 < self.correlation < 1:
            raise FieldError(
                f"{self.correlation:g} is given; it must lie within -1 and 1 "
                '(model = "bounds" has both ends)',
                key="correlation",
            )
        least = float(np.linalg.eigvalsh(self._matrix()).min())
        if least < 1e-9:
            raise FieldError(
                f"the matrix is not positive definite (least eigenvalue {least:.3g})"
                + self._least_number(size),
                key="correlation",
            )
        return self

    @staticmethod
    def _check_matrix(rows: list[list[float]], size: int) -> None:
        if len(rows) != size or any(len(row) != size for row in rows):
            raise FieldError(
                f"the matrix must be {size} rows of {size}, as `rates`", key="correlation"
            )
        for i in range(size):
            for j in range(i + 1):
                a, b = rows[i][j], rows[j][i]
                if a != b:
                    raise FieldError(
                        f"the matrix is not symmetric: {a:g} in row {i + 1}, column "
                        f"{j + 1}, but {b:g} in row {j + 1}, column {i + 1}",
                        key="correlation",
                    )
                if i == j and a != 1:
                    raise FieldError(
                        f"{a:g} is on the diagonal, in row {i + 1}; it must be 1", key="correlation"
                    )

    def _least_number(self, size: int) -> str:
        if isinstance(self.correlation, list) or self.structure == "ar1":
            return ""
        return f"; between {size} drafts one number must be above {-1 / (size - 1):.6g}"

    def _matrix(self) -> Floats:
        size = self.given().size
        if isinstance(self.correlation, list):
            return np.array(self.correlation, float)
        apart = np.abs(np.subtract.outer(np.arange(size), np.arange(size)))
        if self.structure == "equal":
            apart = np.minimum(apart, 1)
        return np.asarray(self.correlation ** apart.astype(float))

    def stated_rates(self) -> Floats:
        """The marginal rates ``[K]``, as one plugs them in who takes them for conditional."""
        return self.given()

    def chain(self) -> AcceptanceChain:
        """One state with the conditional rates that the orthant probabilities imply."""
        survival = np.minimum.accumulate(self._orthants())
        return within_round(conditional_from(np.clip(survival, 0, 1), "survival"))

    def _orthants(self) -> Floats:
        """P(drafts 1..k would all be accepted), ``[K]``."""
        from scipy.special import ndtri

        z, number = ndtri(self.given()), self.correlation
        if isinstance(number, list) or abs(number) > SHARP:
            return matrix_orthants(z, self._matrix())
        if self.structure == "ar1":
            return ar1_orthants(z, number)
        return equal_orthants(z, number) if number >= 0 else matrix_orthants(z, self._matrix())
