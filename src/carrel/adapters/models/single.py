"""One model for every bot."""

from carrel.domain.access import TenantGrant
from carrel.ports.model import Model, ModelWish


class OnlyModel:
    def __init__(self, model: Model) -> None:
        self._model = model

    async def of(self, _grant: TenantGrant, _wish: ModelWish) -> Model:
        return self._model

    async def prepare(self) -> None:
        pass
