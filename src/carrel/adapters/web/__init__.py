"""The way out to other machines: every address judged before it is connected to."""

from carrel.adapters.web.addresses import Allowed, Judge
from carrel.adapters.web.fetch import OutboundWeb
from carrel.adapters.web.judged import JudgedTransport, Rules
from carrel.adapters.web.names import Names

__all__ = ["Allowed", "Judge", "JudgedTransport", "Names", "OutboundWeb", "Rules"]
