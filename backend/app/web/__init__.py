"""The edge of the HTTP process: what every request passes, for any route."""
