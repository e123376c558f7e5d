"""Sources, bots and documents, as their owners see them."""
