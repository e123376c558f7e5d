"""Parsers, in a sandbox."""
