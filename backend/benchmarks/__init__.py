"""Measurements of the queue; `make bench` runs them. They check nothing: machines differ, ratios tell."""
