"""Ollama's wire: lines of JSON."""

import json
from collections.abc import Sequence
from typing import Any, Final

from support.model_server.http import Request
from support.model_server.openai import key
from support.model_server.record import Told
from support.model_server.scripts import Fault
from support.model_server.wire import Count, Reason, Refused

DIMENSIONS: Final = 768
_WHEN: Final = "2026-01-01T00:00:00.000000Z"

_FAULTS: Final = {
    Fault.KEY: (401, "unauthorized"),
    Fault.FORBIDDEN: (403, "forbidden"),
    Fault.MODEL: (404, "model 'missing' not found"),
    Fault.QUOTA: (429, "you've reached your weekly usage limit, please upgrade to continue"),
    Fault.PAYMENT: (402, "payment required"),
    Fault.THROTTLE: (429, "too many requests"),
    Fault.TOO_LONG: (400, "the input length exceeds the context length"),
    Fault.INPUT: (400, "invalid message content type"),
    Fault.BROKEN: (500, "llama runner process has terminated: signal: killed"),
    Fault.OVERLOADED: (503, "server busy, please try again.  maximum pending requests exceeded"),
}


class OllamaWire:
    name = "ollama"
    media_type = "application/x-ndjson"

    def __init__(self, told: Told) -> None:
        self._told = told

    def begin(self, _: Count) -> bytes:
        return b""

    def piece(self, text: str, count: Count) -> bytes:
        return _line({**self._said(text), "done": False, **(_usage(count) if self._told.wants_usage_each else {})})

    def end(self, reason: Reason, count: Count) -> bytes:
        return _line(self.whole("", reason, count))

    def fault(self, fault: Fault) -> bytes:
        return _line(refused(fault).body)

    def garbled(self) -> bytes:
        return b'{"model": "garbled", "message": {"role"\n'

    def whole(self, text: str, reason: Reason, count: Count) -> Any:
        times = {"total_duration": 1_000, "load_duration": 100, "prompt_eval_duration": 100, "eval_duration": 100}
        return {**self._said(text), "done": True, "done_reason": reason, **times, **_usage(count)}

    def _said(self, text: str) -> dict[str, Any]:
        message = {"role": "assistant", "content": text}
        return {"model": self._told.model, "created_at": _WHEN, "message": message}


def chat(request: Request) -> Told:
    body = request.body
    return Told(
        model=body["model"],
        messages=[(message["role"], message.get("content") or "") for message in body["messages"]],
        stream=body.get("stream", True),
        most_tokens=(body.get("options") or {}).get("num_predict"),
        key=key(request),
    )


def texts(request: Request) -> Told:
    body = request.body
    given = body["input"]
    return Told(
        model=body["model"],
        texts=[given] if isinstance(given, str) else given,
        dimensions=body.get("dimensions") or DIMENSIONS,
        key=key(request),
    )


def embedded(told: Told, vectors: Sequence[Sequence[float]], count: Count) -> Any:
    return {"model": told.model, "embeddings": vectors, "total_duration": 1_000, "prompt_eval_count": count.input}


def models(names: Sequence[str]) -> Any:
    return {"models": [{"name": name, "model": name, "modified_at": _WHEN, "size": 1} for name in names]}


def refused(fault: Fault) -> Refused:
    status, message = _FAULTS[fault]
    return Refused(status, {"error": message})


def _usage(count: Count) -> dict[str, int]:
    return {"prompt_eval_count": count.input, "eval_count": count.output}


def _line(data: Any) -> bytes:
    return json.dumps(data, ensure_ascii=False).encode() + b"\n"
