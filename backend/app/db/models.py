"""Imports every domain's models, one line each, so that `Base.metadata` knows every table."""
