"""``python -m mtpsim``, and the command ``mtpsim``."""

import atexit
import os
import signal
import sys


def entry() -> None:
    """Run the command line and exit with its code, without a traceback after an interrupt."""
    os.environ.setdefault(
        "PYDANTIC_DISABLE_PLUGINS", "__all__"
    )  # else pydantic reads the metadata of every package
    try:
        from mtpsim.cli.main import main
        from mtpsim.cli.streams import survive_closed_pipes

        survive_closed_pipes()
        code = main()
    except KeyboardInterrupt:  # while modules are imported
        code = 130
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # nothing is left to interrupt
    if code == 130:
        # Python would end by SIGINT itself if it was interrupted inside an `exec`.
        atexit._run_exitfuncs()  # release the semaphores of processes
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


if __name__ == "__main__":
    entry()
