"""What a process that is a server says on standard output: where it listens."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..config import Config


def announce(urls: Iterable[str], config: Config, admin_token: str) -> None:
    """Prints where it can be reached, and the token of the admin port if it was made just now."""
    for url in urls:
        sys.stdout.write(f"Listening on {url}\n")
    if config.admin_port:
        sys.stdout.write(f"Admin on http://{config.admin_host}:{config.admin_port}/sessions\n")
        if not config.admin_token:
            sys.stdout.write(f"Admin token {admin_token}\n")
    sys.stdout.flush()
