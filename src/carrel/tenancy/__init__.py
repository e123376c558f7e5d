"""Tenants and their keys: who may come in."""
