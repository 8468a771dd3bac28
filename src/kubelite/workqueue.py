"""The queue that every reconciling component uses."""
