"""``mtpsim init``: write an example experiment to start from."""

import argparse
import sys
from pathlib import Path

from mtpsim.cli.main import DONE
from mtpsim.common.errors import InputError


def run(options: argparse.Namespace) -> int:
    """Write the example and the files that it names."""
    from mtpsim.config.examples import copy_example, example, titles

    if options.list:
        width = max(map(len, titles()), default=0)
        for name, title in titles().items():
            print(f"{name:{width}}  {title}")
        return DONE
    path = example(options.name)
    if path is None:
        message = f"no example has the name {options.name!r}"
        raise InputError.of(message, key="NAME", given=options.name, allowed=titles())
    target = Path(options.o or f"{options.name}.toml")
    try:
        written = copy_example(path, target)
    except FileExistsError:
        message = "already exists and is not replaced; -o chooses another file"
        raise InputError.of(message, file=target, key="-o") from None
    except OSError as error:
        raise InputError.of(error.strerror or str(error), file=target, key="-o") from None
    print(f"wrote {', '.join(map(str, written))}", file=sys.stderr)
    print(f"next: edit {target}, then mtpsim run {target}", file=sys.stderr)
    return DONE
