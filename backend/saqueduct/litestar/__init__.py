"""The Litestar face: plugin, routes."""
