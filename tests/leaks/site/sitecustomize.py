"""Python imports this at the start of each process that a test starts: its log is looked through as well.

What leaks is added to the file that WSSERVER_TEST_LEAKS names. What a test hid is not known here; tokens and query
strings are known by their looks.
"""

from __future__ import annotations

import logging
import os
import runpy
from pathlib import Path

if "WSSERVER_TEST_LEAKS" in os.environ:
    _module = runpy.run_path(str(Path(__file__).parents[1] / "watch.py"))
    _watch = _module["Watch"]()

    def _report(record: object) -> None:
        _watch.inspect(record)
        if _watch.found:
            with open(os.environ["WSSERVER_TEST_LEAKS"], "a", encoding="utf-8") as file:
                file.writelines(f"{line}\n" for line in _watch.found)
            _watch.found.clear()

    _module["install"](_report)
    # The server writes its lines past `logging` where nobody would see them there.
    logging.getLogger("wsserver").addFilter(lambda record: True)
