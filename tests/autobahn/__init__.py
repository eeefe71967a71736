"""The Autobahn test suite against the server's ``/echo``; see ``test_conformance.py``."""
