"""The edge of the HTTP process: what every request passes, whatever route it is for."""
