"""Several processes on one port: the supervisor that keeps them alive, and what it and its workers tell each other."""
