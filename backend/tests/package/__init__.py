"""The built wheel, in environments of its own, without the source on the path."""
