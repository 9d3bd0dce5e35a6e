"""``python -m mtpsim``, and the command ``mtpsim``."""

import atexit
import os
import signal
import sys


def entry() -> None:
    """Run the command line and leave with its exit code, in peace also where it is interrupted."""
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # or it reads every package's name
    try:
        from mtpsim.cli.main import main
        from mtpsim.cli.streams import outlive_readers

        outlive_readers()
        code = main()
    except KeyboardInterrupt:  # while there is nothing to say yet
        code = 130
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # all is done: Python may end in peace
    if code == 130:
        # Python would end by SIGINT itself where it was interrupted inside of an `exec`.
        atexit._run_exitfuncs()  # semaphores of processes are given back
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


if __name__ == "__main__":
    entry()
