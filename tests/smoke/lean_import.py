"""Sees that ``import wsserver`` loads nothing but its own four dependencies and the standard library.

For an environment in which the extras are installed, or there is nothing to see: ``python -I lean_import.py``.
"""

from __future__ import annotations

import sys

DEPENDENCIES = {"wsserver", "wsproto", "h11", "orjson", "uvloop"}


def main() -> None:
    """Import it, and end with a message if something else came along."""
    before = {name.partition(".")[0] for name in sys.modules}

    import wsserver  # noqa: F401

    after = {name.partition(".")[0] for name in sys.modules}
    foreign = after - before - DEPENDENCIES - sys.stdlib_module_names
    if foreign:
        sys.exit(f"import wsserver also imports {', '.join(sorted(foreign))}")


if __name__ == "__main__":
    main()
