"""The guest of `carrel demo`: it visits a serving Carrel over HTTP and shows what it finds."""
