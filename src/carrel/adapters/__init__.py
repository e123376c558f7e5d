"""Outside products, one a file, each behind a port."""
