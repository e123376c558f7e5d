"""Provider credentials over the wire: their secret goes in and never comes out."""

from datetime import datetime
from typing import Annotated, Self
from uuid import UUID

from pydantic import AfterValidator, BaseModel, Field, SecretStr

from carrel.api.complaints import wrong
from carrel.api.schemas.types import Asked, Listing, Name
from carrel.domain.providers import ProviderCredential
from carrel.domain.secret import Secret
from carrel.tenancy.credentials import CredentialChange as Change
from carrel.tenancy.credentials import CredentialWish


def _readable(value: SecretStr) -> SecretStr:
    if "\x00" in value.get_secret_value():
        raise wrong("invalid_text", "The text holds a character that cannot be read.")
    return value


SecretText = Annotated[
    SecretStr,
    Field(min_length=1, max_length=8192, description="It is kept encrypted and in no answer."),
    AfterValidator(_readable),
]
Provider = Annotated[str, Field(min_length=1, max_length=63, description="1 to 63 of a-z, 0-9, '.', '_' and '-'.")]
Address = Annotated[
    str, Field(min_length=1, max_length=2000, description="Where the provider is, if not at its own public address.")
]


class NewCredential(Asked):
    name: Name
    provider: Provider
    secret: SecretText
    base_url: Address | None = None

    def wish(self) -> CredentialWish:
        return CredentialWish(self.name, self.provider, Secret(self.secret.get_secret_value()), self.base_url)

    def in_clear(self) -> str:
        """The whole request, to tell it from another; it must not be kept."""
        return f"{self.model_dump_json()}\n{self.secret.get_secret_value()}"


class CredentialChange(Asked):
    """What is absent or null stays as it is. Another address needs the secret anew."""

    name: Name | None = None
    secret: SecretText | None = None
    base_url: Address | None = None

    def wish(self) -> Change:
        secret = None if self.secret is None else Secret(self.secret.get_secret_value())
        return Change(self.name, secret, self.base_url)


class CredentialView(BaseModel):
    id: UUID
    name: str
    provider: str
    base_url: str | None
    last_four: Annotated[str, Field(description="Of the secret; empty when it has fewer than 16 characters.")]
    created_at: datetime
    rotated_at: datetime

    @classmethod
    def of(cls, credential: ProviderCredential) -> Self:
        return cls(
            id=credential.id,
            name=credential.name,
            provider=credential.provider,
            base_url=credential.base_url,
            last_four=credential.last_four,
            created_at=credential.created_at,
            rotated_at=credential.rotated_at,
        )


class CredentialList(Listing[CredentialView]):
    pass
