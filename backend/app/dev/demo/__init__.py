"""`make demo`: a day of lifelike history for a running `make dev`."""
