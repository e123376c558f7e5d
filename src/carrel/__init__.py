"""Carrel: grounded answers with citations, for tenants who can never meet."""
