"""Where calls are counted: one product per module."""
