"""Ephemeral clusters: several at once on one machine, each with its own folder, network, engines and names."""
