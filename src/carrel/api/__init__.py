"""The HTTP door: requests become calls of the journeys, refusals become problems."""
