"""``mtpsim schema``: print the JSON Schema of an experiment file."""

import argparse
import json

from mtpsim.cli.main import DONE


def run(options: argparse.Namespace) -> int:
    """Print the schema."""
    from mtpsim.config.experiment import schema

    print(json.dumps(schema(), indent=2, ensure_ascii=False))
    return DONE
