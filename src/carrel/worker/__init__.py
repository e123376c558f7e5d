"""The worker: the door through which waiting work comes in."""
