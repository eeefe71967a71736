"""What goes wrong while measuring, in words for the person at the terminal."""

from __future__ import annotations


class BenchError(Exception):
    """The run is void: a wrong count, a lost connection, a server that did not start, a wait that did not end."""
