"""Measures what the protocol costs: the same job done by this server and by others, in turns, on one machine.

::

    python -m bench compare --job stream --peers ours,picows

A job (`bench/jobs/NAME.py`, holding `JOB`) is what clients do and what is counted. A peer (`bench/peers/NAME.py`,
holding `PEER`) is a server and the command that starts it. Each is found by its file's name; nothing lists them.
"""
