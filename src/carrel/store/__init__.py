"""PostgreSQL: the only place with SQL, but for the two index adapters."""
