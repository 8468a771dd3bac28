"""The pod network as a CNI plugin, for container engines that make the network of a pod themselves."""
