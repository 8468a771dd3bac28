"""Nodes in simulation: the real kubelet over a container engine, network and volumes that exist only in memory."""
