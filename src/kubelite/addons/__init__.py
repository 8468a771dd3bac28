"""Objects from files: what `server/manifests` of the data folder holds is applied, followed and pruned."""
