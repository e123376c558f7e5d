"""What tokens cost: a table of prices by model, in whatever unit of money the table is written in."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from carrel.domain.answers import Usage

_MILLION: Final = Decimal(1_000_000)


@dataclass(frozen=True, slots=True)
class Price:
    """For a million tokens told and a million tokens written."""

    input: Decimal
    output: Decimal

    def of(self, usage: Usage) -> Decimal:
        return (usage.input_tokens * self.input + usage.output_tokens * self.output) / _MILLION


@dataclass(frozen=True, slots=True)
class Prices:
    """By the name under which usage is booked, `provider:model`; `provider:*` is for all others of a provider."""

    table: Mapping[str, Price] = field(default_factory=dict)

    def cost(self, usage: Usage) -> Decimal | None:
        """None where no price is known."""
        price = self.table.get(usage.model) or self.table.get(f"{usage.model.partition(':')[0]}:*")
        return None if price is None else price.of(usage)


NO_PRICES: Final = Prices()
