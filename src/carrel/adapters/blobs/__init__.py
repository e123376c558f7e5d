"""Stores of uploaded bytes."""
