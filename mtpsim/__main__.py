"""``python -m mtpsim``."""

import sys

from mtpsim.cli import main

if __name__ == "__main__":
    sys.exit(main())
