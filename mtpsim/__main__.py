"""``python -m mtpsim``, and the command ``mtpsim``."""

import gc
import os
import signal
import sys

YOUNG = 500_000  # new objects before they are searched for cycles: imports and figures make fewer

SMALL_MATRICES = (["check"], ["quick"])
"""Commands with products of small matrices only, where threads spend all time on each other."""


def entry() -> None:
    """Run the command line and exit with its code."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not ignored, as by nohup
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # end at once until there is work to save
    gc.set_threshold(YOUNG)
    # Else pydantic reads the metadata of every package, and idle threads of BLAS spin for 0.03 s.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")
    if sys.argv[1:2] in SMALL_MATRICES:
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from mtpsim.cli.main import INTERRUPTED, main
    from mtpsim.cli.streams import survive_closed_pipes

    survive_closed_pipes()
    code = main()
    if code == INTERRUPTED:  # blocks may still be in progress: Python would wait for them
        from mtpsim.engine.interrupts import end_process

        sys.stdout.flush()
        sys.stderr.flush()
        end_process()
    gc.freeze()  # Python would search all modules for cycles before it ends
    sys.exit(code)


if __name__ == "__main__":
    entry()
