"""What a process that is a server says: where it listens on standard output, its log on standard error."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..config import Config


def set_up_log(config: Config, worker: str = "") -> None:
    """Unless the program has set up logging by itself. `worker` names this process where it is one of several."""
    if worker:
        import multiprocessing

        # So it is `%(processName)s` of formats that are the program's own.
        multiprocessing.current_process().name = worker
    process = "%(processName)s " if worker else ""
    logging.basicConfig(
        level=config.log_level.upper(),
        stream=sys.stderr,
        format=f"%(asctime)s %(levelname)s {process}%(name)s: %(message)s",
    )
    # At INFO they name each address that they ask, with its query.
    for name in ("httpx", "httpx2"):
        logging.getLogger(name).setLevel(logging.WARNING)


def announce(urls: Iterable[str], config: Config, admin_token: str) -> None:
    """Prints where it can be reached, and the token of the admin port if it was made just now."""
    for url in urls:
        sys.stdout.write(f"Listening on {url}\n")
    if config.admin_port:
        sys.stdout.write(f"Admin on http://{config.admin_host}:{config.admin_port}/sessions\n")
        if not config.admin_token:
            sys.stdout.write(f"Admin token {admin_token}\n")
    sys.stdout.flush()
