"""Other issuers of logins than ourselves."""

from typing import Protocol

from carrel.domain.logins import Login


class Issuer(Protocol):
    """An issuer that the operator trusts. `name` is what stands in its tokens as `iss`, to the letter."""

    @property
    def name(self) -> str: ...

    async def prove(self, token: str) -> Login:
        """Raises Unauthenticated `expired_token` or `invalid_token`, Unavailable `issuer_unavailable`."""
        ...
