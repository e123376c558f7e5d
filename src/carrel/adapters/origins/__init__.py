"""Places that sources fetch their documents from: one product each."""
