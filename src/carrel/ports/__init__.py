"""What the journeys need from outside, one promise a file."""
