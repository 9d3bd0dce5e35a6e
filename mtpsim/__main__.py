"""``python -m mtpsim``, and the command ``mtpsim``."""

import os
import signal
import sys


def entry() -> None:
    """Run the command line and exit with its code."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not ignored, as by nohup
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # end at once until there is work to save
    os.environ.setdefault(
        "PYDANTIC_DISABLE_PLUGINS", "__all__"
    )  # else pydantic reads the metadata of every package
    from mtpsim.cli.main import INTERRUPTED, main
    from mtpsim.cli.streams import survive_closed_pipes

    survive_closed_pipes()
    code = main()
    if code == INTERRUPTED:  # blocks may still be in progress: Python would wait for them
        from mtpsim.engine.interrupts import end_process

        sys.stdout.flush()
        sys.stderr.flush()
        end_process()
    sys.exit(code)


if __name__ == "__main__":
    entry()
