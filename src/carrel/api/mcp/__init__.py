"""The Model Context Protocol: what the HTTP surface finds and answers, for programs that hand it to a model."""
