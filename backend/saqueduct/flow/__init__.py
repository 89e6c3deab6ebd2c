"""Limits that jobs share: how many run at once, and how many start in a time."""
