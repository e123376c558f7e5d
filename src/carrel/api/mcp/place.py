"""Is it this server that is meant, may a page from there call it, and can it read the answer: before the credential."""

from typing import Final

from fastapi import Request

from carrel.api.problems import Problem, problem
from carrel.domain.hosts import KnownHosts

_WRONG_HOST: Final = problem(421, "unknown_host", "This server is not known under that name: see CARREL_MCP__HOSTS.")
_WRONG_FORM: Final = problem(406, "not_acceptable", "The answer is application/json: say in Accept that you take it.")
_JSON: Final = frozenset({"application/json", "application/*", "*/*"})
_WRONG_ORIGIN: Final = problem(403, "unknown_origin", "Pages from there may not call this: see CARREL_MCP__ORIGINS.")


def misplaced(request: Request, known: KnownHosts) -> Problem | None:
    """None for a request that is rightly here. Programs that are no browser send no Origin."""
    hosts, origins = request.headers.getlist("host"), request.headers.getlist("origin")
    own = request.scope.get("server") or (None, None)
    if len(hosts) != 1 or not known.are_called(hosts[0], at=own[0]):
        return _WRONG_HOST
    if len(origins) > 1 or not all(known.may_call(origin, host=hosts[0]) for origin in origins):
        return _WRONG_ORIGIN
    accepted = {kind.partition(";")[0].strip().lower() for kind in request.headers.get("accept", "").split(",")}
    return None if accepted & _JSON else _WRONG_FORM
