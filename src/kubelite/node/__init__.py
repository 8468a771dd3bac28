"""The node agent: runs pods through a container engine."""
