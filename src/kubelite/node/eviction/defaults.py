"""The hard thresholds of a node without flags."""

# Upstream keeps 10 % of the node's and 15 % of the images' filesystem free, which a laptop rarely has; k3s 5 %.
EVICTION_HARD = (
    "memory.available<100Mi",
    "nodefs.available<5%",
    "nodefs.inodesFree<5%",
    "imagefs.available<5%",
    "imagefs.inodesFree<5%",
)
