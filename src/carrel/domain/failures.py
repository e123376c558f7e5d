"""The way out of a failure, as one sentence for whoever brought the document."""

from collections.abc import Mapping
from typing import Final

from carrel.domain.library import Failure

_WAYS_OUT: Final[Mapping[str, str]] = {
    "encrypted_document": "Take its password off and bring it again.",
    "damaged_document": "Open it with the program that made it, save it anew and bring it again.",
    "no_text": "Recognise its text (OCR) or add some, and bring it again.",
    "too_long": "Divide it into several documents and bring those.",
    "parser_output": "Divide it into several documents, or save it anew with another program, and bring it again.",
    "parser_memory": "Divide it or leave large pictures out; or let the operator allow more memory, and retry it.",
    "parser_timeout": "Divide it; or let the operator allow more time, and retry it.",
    "parser_crashed": "Save it anew with another program and bring it again.",
    "quarantined": "Bring it in another form; or, when the reason has been mended, retry it with `force`.",
    "content_missing": "Bring the file again.",
    "unsupported_type": "Save it in a format that `carrel formats` lists and bring it again.",
    "requester_suspended": "Let another member retry it.",
    "worker_crashed": "Look at the worker's log, mend what is told there, and retry it.",
}
_WAIT: Final = "Nothing is wrong with it: retry it when what it waited for is there again."
_MEND: Final = "Mend what the reason says, and retry it or bring it again."


def way_out(failure: Failure) -> str:
    return _WAYS_OUT.get(failure.code, _WAIT if failure.retryable else _MEND)
