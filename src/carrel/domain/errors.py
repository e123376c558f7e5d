"""The tree of refusals. Journeys raise them, adapters translate vendors' errors into them, doors translate them once.

Refusal
├── Invalid        the input breaks a rule; names the field            422
│   ├── TooLarge                                                        413
│   └── Unsupported                                                     415
├── Unauthenticated  no credential, or a dead one                       401
├── Denied         the credential lacks the right                       403
├── NotFound       absent, foreign or not visible: one answer for all   404
├── Conflict       the state does not allow it                          409
├── Throttled      too many, too fast                                   429
├── Unavailable    something we need does not answer; try again         503
│   ├── ModelFailed  a language model did not write; mostly an answer is degraded instead
│   └── EmbedderFailed  a provider's embedder gave no vectors
└── Unreadable     a document cannot be turned into text                (a failed document)
"""

from dataclasses import dataclass
from typing import ClassVar


class Refusal(Exception):  # noqa: N818 - a refusal is the glossary's word; not every one is an error
    """`code` is stable and documented, `detail` one sentence for a person, `retryable` whether waiting helps."""

    default_code: ClassVar[str] = "refused"
    retryable: bool = False

    def __init__(self, detail: str, *, code: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.code = code or self.default_code


@dataclass(frozen=True, slots=True)
class FieldProblem:
    field: str
    code: str
    detail: str


class Invalid(Refusal):
    default_code = "invalid"

    def __init__(self, detail: str, *, code: str | None = None, field: str | None = None) -> None:
        super().__init__(detail, code=code)
        self.field = field


class TooLarge(Invalid):
    default_code = "too_large"


class Unsupported(Invalid):
    default_code = "unsupported_type"


class Unauthenticated(Refusal):
    default_code = "unauthenticated"


class Denied(Refusal):
    default_code = "denied"


class NotFound(Refusal):
    """Foreign, absent and invisible look the same, so the message never varies."""

    default_code = "not_found"

    def __init__(self) -> None:
        super().__init__("There is nothing here that you may see.")


class Conflict(Refusal):
    default_code = "conflict"


class Throttled(Refusal):
    """`wait` is in how many seconds another try makes sense."""

    default_code = "rate_limited"
    retryable = True

    def __init__(self, detail: str, *, code: str | None = None, wait: float = 10.0) -> None:
        super().__init__(detail, code=code)
        self.wait = wait


class Unavailable(Refusal):
    default_code = "unavailable"
    retryable = True


class ModelFailed(Unavailable):
    """A language model, or the way to it. `wait` is in how many seconds another try makes sense, if anybody said."""

    default_code = "model_failed"

    def __init__(self, detail: str, *, code: str | None = None, wait: float | None = None) -> None:
        super().__init__(detail, code=code)
        self.wait = wait


class EmbedderFailed(Unavailable):
    """A provider's embedder, or the way to it. `final`: somebody must change something first; else waiting helps.

    `wait` is in how many seconds another try makes sense, if anybody said.
    """

    default_code = "embedder_failed"

    def __init__(self, detail: str, *, code: str | None = None, wait: float | None = None, final: bool = False) -> None:
        super().__init__(detail, code=code)
        self.wait = wait
        self.retryable = not final


class Unreadable(Refusal):
    """The document's own fault: trying again gives the same result."""

    default_code = "damaged_document"
