"""Learning the curve of confidence from labelled sets, through the product's own journeys: `make calibrate`."""
