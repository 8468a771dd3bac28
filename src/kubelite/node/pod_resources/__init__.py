"""The pod resources API of the node, which tells monitoring agents the devices of containers."""
