"""Calls of tasks from code without an event loop; `saqueduct.blocking` is their public module."""
