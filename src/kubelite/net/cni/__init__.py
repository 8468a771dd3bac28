"""The pod network made by CNI plugins of the host, instead of kubelite's own."""
