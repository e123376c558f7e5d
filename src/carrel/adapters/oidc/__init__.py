"""Logins at an OpenID Connect issuer: its keys, and the proof of its tokens."""

from carrel.adapters.oidc.issuer import OidcIssuer, Trust
from carrel.adapters.oidc.keys import ALGORITHMS, KeyRing

__all__ = ["ALGORITHMS", "KeyRing", "OidcIssuer", "Trust"]
