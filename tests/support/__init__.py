"""What the tests share: a running Carrel on a real PostgreSQL, and builders of valid things."""
