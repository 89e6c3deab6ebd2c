"""Redis: connections, transport, scripts, keys, outages."""
