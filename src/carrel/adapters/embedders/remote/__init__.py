"""Embedders of providers, called over the network: `opened` gives the Embedder; each wire is a module beside it."""

from carrel.adapters.embedders.remote.calls import Place
from carrel.adapters.embedders.remote.embedder import Plan, RemoteEmbedder, opened
from carrel.adapters.embedders.remote.wire import Wire

__all__ = ["Place", "Plan", "RemoteEmbedder", "Wire", "opened"]
