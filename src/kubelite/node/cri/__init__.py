"""Engines that speak the Container Runtime Interface: containerd, CRI-O."""
