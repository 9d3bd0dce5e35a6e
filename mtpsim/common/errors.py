"""Errors in user input, as data: file, line, key, given value, allowed values and suggestion."""

import difflib
from collections.abc import Iterable
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any, Literal, Self

ProblemKind = Literal["value", "missing", "unknown_key"]


@dataclass(frozen=True)
class Problem:
    """One error in the input.

    Attributes:
        message (str): What is wrong, without the allowed values and the suggestion.
        file (str): Path as the user gave it; empty if the error is not in a file.
        key (str): Dotted key such as ``acceptance.rates[1]``, or a command-line option such as
            ``--seed``; may be empty.
        line (int | None): Line in the file, counted from 1; None if unknown.
        kind (str): ``"value"`` (a value, or a combination of values, is not allowed),
            ``"missing"`` (a required key is absent) or ``"unknown_key"``.
        given (Any): The value or key that was refused; None if there is no single one.
        allowed (tuple[str, ...]): Names that are allowed in its place; empty if they are not
            names, or if the message states the rule.
        suggestion (str | None): The allowed name closest to the given one; None if none is close.
        cause (str): Command-line options without which the file has no such problem; may be empty.
    """

    message: str
    _: KW_ONLY
    file: str = ""
    key: str = ""
    line: int | None = None
    kind: ProblemKind = "value"
    given: Any = None
    allowed: tuple[str, ...] = ()
    suggestion: str | None = None
    cause: str = ""

    @property
    def text(self) -> str:
        """Message, allowed names, suggestion and cause, without the place."""
        allowed = f"; allowed: {', '.join(self.allowed)}" if self.allowed else ""
        cause = f" (with {self.cause})" if self.cause else ""
        return f"{self.message}{allowed}{did_you_mean(self.suggestion)}{cause}"

    def __str__(self) -> str:
        """``bad.toml:7: acceptance.rates[1]: 1.2 is given; it must be at most 1``."""
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return ": ".join(part for part in (place, self.key, self.text) if part)


class InputError(Exception):
    """Invalid input, with every problem that was found.

    Args:
        problems (list[Problem]): At least one.

    Attributes:
        problems (list[Problem]): Every problem found, in the order of the file.

    Examples:
        >>> import mtpsim
        >>> try:
        ...     mtpsim.parse("acceptance = {model = 'independnt', rates = [0.8]}")
        ... except mtpsim.InputError as error:
        ...     for problem in error.problems:
        ...         print(problem.line, problem.key, problem.kind, problem.suggestion)
        1 acceptance.model value independent
        None latency missing None
    """

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems

    @classmethod
    def of(
        cls,
        message: str,
        *,
        file: str | Path = "",
        key: str = "",
        line: int | None = None,
        given: str | None = None,
        allowed: Iterable[str] = (),
    ) -> Self:
        """The error of a single problem.

        Args:
            message (str): What is wrong.
            file (str | Path): Path as the user gave it; empty if the error is not in a file.
            key (str): Dotted key, or command-line option, that is wrong; may be empty.
            line (int | None): Line in the file, counted from 1; None if unknown.
            given (str | None): The name that was refused; the closest allowed one is suggested.
            allowed (Iterable[str]): Names that are allowed in its place.

        Returns:
            InputError: An error with one problem.

        Examples:
            >>> print(InputError.of("unknown key", key="laten", given="laten", allowed=["latency"]))
            laten: unknown key; allowed: latency; did you mean 'latency'?
        """
        names = tuple(allowed)
        return cls(
            [
                Problem(
                    message,
                    file=str(file),
                    key=key,
                    line=line,
                    given=given,
                    allowed=names,
                    suggestion=suggest(given, names) if given else None,
                )
            ]
        )


class FieldError(ValueError):
    """Raised by a validator of a section: what is wrong, and with which of its keys.

    Args:
        message (str): What is wrong.
        key (str): Key of the section that is wrong; empty for the section as a whole.
        given (Any): The value that was refused.
        allowed (Iterable[str]): Names that are allowed in its place.
        kind (str): As of a :class:`Problem`.
    """

    def __init__(
        self,
        message: str,
        *,
        key: str = "",
        given: Any = None,
        allowed: Iterable[str] = (),
        kind: ProblemKind = "value",
    ) -> None:
        self.message, self.key, self.kind = message, key, kind
        self.given, self.allowed = given, tuple(allowed)
        self.suggestion = suggest(given, self.allowed) if isinstance(given, str) else None
        found = Problem(message, allowed=self.allowed, suggestion=self.suggestion)
        super().__init__(f"`{key}`: {found.text}" if key else found.text)


def cannot_write(error: Exception, file: str | Path, key: str = "--out") -> InputError:
    """The error of an option whose file can't be written.

    Args:
        error (Exception): What writing raised.
        file (str | Path): The file.
        key (str): The option.
    """
    reason = getattr(error, "strerror", None) or error
    return InputError.of(f"can't be written: {reason}", file=file, key=key)


def suggest(given: str, allowed: Iterable[str], cutoff: float | None = None) -> str | None:
    """The allowed name closest to the given one, or None if none is close."""
    cutoff = cutoff or (0.5 if len(given) < 5 else 0.6)  # one wrong letter of two is close
    return next(iter(difflib.get_close_matches(given, list(allowed), 1, cutoff=cutoff)), None)


def did_you_mean(name: str | None) -> str:
    """``; did you mean 'x'?``, or an empty string for None."""
    return f"; did you mean {name!r}?" if name else ""


def nearest(given: str, allowed: Iterable[str]) -> str:
    """``; did you mean 'x'?`` with the closest allowed name, or an empty string."""
    return did_you_mean(suggest(given, allowed))


def nearest_file(path: Path, suffix: str = "") -> str:
    """``; did you mean 'x'?`` with the closest file name in the folder of a missing file.

    Only names with the ending ``suffix`` are suggested, and compared without it.
    """
    try:
        beside = [] if path.exists() else sorted(path.parent.iterdir())
        files = [file.name for file in beside if file.name.endswith(suffix) and file.is_file()]
    except (OSError, ValueError):
        return ""
    names = {name.removesuffix(suffix): name for name in files}
    closest = suggest(path.name.removesuffix(suffix), names, cutoff=0.6)
    return did_you_mean(names.get(closest or ""))
