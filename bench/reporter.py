"""`python -m bench.reporter MODULE ARGS…`: runs MODULE as a script, and answers each line on stdin with its usage.

Only used where a process cannot be seen from outside. The answering thread costs nothing while nobody asks.
"""

from __future__ import annotations

import os
import runpy
import sys
import threading
import time


def usage_line() -> str:
    """`usage CPU-NANOSECONDS PEAK-RSS-BYTES`."""
    peak = 0
    if sys.platform != "win32":
        import resource

        unit = 1 if sys.platform == "darwin" else 1024
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return f"usage {time.process_time_ns()} {peak}\n"


def _answer() -> None:
    while os.read(0, 1):
        os.write(1, usage_line().encode())


def main() -> None:
    """Run the module named by the first argument with the others."""
    threading.Thread(target=_answer, daemon=True).start()
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
