"""Write an experiment beside a fit, as deep as its times go."""

from collections.abc import Callable
from pathlib import Path

from mtpsim.common.errors import InputError, cannot_write
from mtpsim.config.experiment import parse


def write_deepest(path: Path, text_at: Callable[[int], str], *, deepest: int, known: int) -> None:
    """Write the deepest valid experiment: beyond the log only if its times are a cost model.

    Args:
        path: file of the experiment.
        text_at: returns the text of a depth; it may write files that the text names.
        deepest: greatest depth to try.
        known: depth of the log, at which the experiment must be valid.
    """
    try:
        for depth in range(deepest, known - 1, -1):
            text = text_at(depth)
            try:
                parse(text, folder=path.parent, file=str(path))
            except InputError:
                if depth > known:
                    continue
                raise
            break
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise cannot_write(error, path) from None
