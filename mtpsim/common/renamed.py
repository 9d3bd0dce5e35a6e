"""Former names of keyword arguments keep working."""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

PROGRESS = "told"
"""Former name of ``on_progress``."""


def renamed_keyword(former: str, name: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Let a function be called with the former name of a keyword argument too.

    Args:
        former (str): The former name.
        name (str): The name now.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            if former in kwargs:
                kwargs[name] = kwargs.pop(former)
            return function(*args, **kwargs)

        return call

    return decorate
