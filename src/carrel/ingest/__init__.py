"""The ingest journey: from a file to an index that answers."""
