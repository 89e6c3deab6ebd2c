"""Measurements of the queue, run by `make bench`. They check nothing: only ratios of one machine can be compared."""
