"""Texts over the wire: documents that are brought as JSON."""

from typing import Annotated

from pydantic import AfterValidator, Field

from carrel.api.schemas.types import Asked, Attributes, Name, plain_text

Text = Annotated[str, Field(min_length=1, max_length=1_000_000), AfterValidator(plain_text)]


class TextWish(Asked):
    key: Annotated[str, Field(min_length=1, max_length=1024, description="Under which it lives in its source.")]
    title: Name | None = None
    text: Annotated[Text, Field(description="Markdown, or plain if the key ends so.")]
    attributes: Annotated[
        Attributes | None, Field(description="They replace what the document had; absent, that stays.")
    ] = None
