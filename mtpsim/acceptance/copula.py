"""``copula``: correlated drafts within a round (Gaussian copula)."""

from typing import Literal, Self

import numpy as np
from pydantic import Field, model_validator

from mtpsim.acceptance.base import AcceptanceChain, RatesModel, compiled_once, independent_rounds
from mtpsim.acceptance.orthant import ar1_orthants, equal_orthants, matrix_orthants
from mtpsim.common.arrays import Floats
from mtpsim.common.errors import FieldError
from mtpsim.formula.closed_form import conditional_from

SHARP = 0.99  # correlation above which quadrature on an even grid is too coarse


class Copula(RatesModel):
    """Marginal acceptance rates m_j, and correlated standard normal scores Z_j.

    Draft j would be accepted if Z_j <= z_j, with P(Z_j <= z_j) = m_j, regardless of the drafts
    before it. Rounds are independent.
    """

    model: Literal["copula"]
    rates_are: Literal["marginal"] = Field(
        "marginal", description="P(draft j would be accepted) regardless of drafts 1..j-1"
    )
    correlation: float | list[list[float]] = Field(
        description="correlation of the normal scores: a number, or a full matrix"
    )
    structure: Literal["equal", "ar1"] = Field(
        "equal",
        description="a single number is the correlation of each pair, or its power by distance",
    )

    @model_validator(mode="after")
    def _positive_definite(self) -> Self:
        size = self.rates_by_position().size
        if isinstance(self.correlation, list):
            self._check_matrix(self.correlation, size)
        elif not -1 < self.correlation < 1:
            raise FieldError(
                f"{self.correlation:g} is given; it must be between -1 and 1 "
                '(for the extremes use model = "bounds")',
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
                f"the matrix must be {size} rows of {size}, one per rate", key="correlation"
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
                        f"the diagonal must be 1; row {i + 1} has {a:g}", key="correlation"
                    )

    def _least_number(self, size: int) -> str:
        if isinstance(self.correlation, list) or self.structure == "ar1":
            return ""
        return f"; a single number for {size} drafts must be above {-1 / (size - 1):.6g}"

    def _matrix(self) -> Floats:
        size = self.rates_by_position().size
        if isinstance(self.correlation, list):
            return np.array(self.correlation, float)
        distance = np.abs(np.subtract.outer(np.arange(size), np.arange(size)))
        if self.structure == "equal":
            distance = np.minimum(distance, 1)
        return np.asarray(self.correlation ** distance.astype(float))

    def input_rates(self) -> Floats:
        """The marginal rates ``[K]``."""
        return self.rates_by_position()

    @compiled_once
    def chain(self) -> AcceptanceChain:
        """One state with the conditional rates implied by orthant probabilities."""
        survival = np.minimum.accumulate(self._orthants())
        return independent_rounds(conditional_from(np.clip(survival, 0, 1), "survival"))

    def _orthants(self) -> Floats:
        """P(drafts 1..k would all be accepted), ``[K]``."""
        from mtpsim.common.special import ndtri

        z, number = ndtri(self.rates_by_position()), self.correlation
        if isinstance(number, list) or abs(number) > SHARP:
            return matrix_orthants(z, self._matrix())
        if self.structure == "ar1":
            return ar1_orthants(z, number)
        return equal_orthants(z, number) if number >= 0 else matrix_orthants(z, self._matrix())
