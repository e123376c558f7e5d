"""Which other issuer's logins are taken."""

from typing import assert_never
from urllib.parse import urlsplit

from carrel.ports.issuers import Issuer
from carrel.settings import NoLogin, OidcLogin, Settings

_PATIENCE = 5.0


def issuer(settings: Settings) -> Issuer | None:
    """None when nobody but Carrel itself is trusted."""
    match settings.login:
        case NoLogin():
            return None
        case OidcLogin() as login:
            return _oidc(login)
        case _:
            assert_never(settings.login)


def _oidc(login: OidcLogin) -> Issuer:
    """The issuer's own port is open beside that of https, for its keys as well."""
    from carrel.adapters.oidc import KeyRing, OidcIssuer, Trust
    from carrel.adapters.web import Allowed, OutboundWeb, Rules

    parts = urlsplit(login.issuer)
    ports = frozenset({443, parts.port or (443 if parts.scheme == "https" else 80)})
    web = OutboundWeb(Rules(Allowed.read(login.allowed or ""), ports, connect=_PATIENCE, total=_PATIENCE))
    trust = Trust(
        issuer=login.issuer,
        audience=login.audience,
        algorithms=login.algorithm_list,
        groups_claims=login.groups_claim_list,
        email_claim=login.email_claim,
        client=login.client,
    )
    return OidcIssuer(trust, KeyRing(web, login.issuer, algorithms=login.algorithm_list))
