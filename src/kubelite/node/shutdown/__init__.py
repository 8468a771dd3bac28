"""Graceful shutdown of the node: hears of a shutdown from systemd-logind, and ends the pods by priority before it."""
