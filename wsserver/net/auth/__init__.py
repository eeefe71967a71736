"""Tokens: what they are checked with, where that is fetched from, and their renewal on a connection that is open."""
