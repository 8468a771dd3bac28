"""Node-pressure eviction: reports when the node runs out of something, and ends pods to reclaim it."""
