"""Finds a node for each pod: filters, scores, and preemption over an incremental picture of the nodes."""
