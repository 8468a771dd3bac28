"""The images of a node: names, registries, logins, pulls, and what is removed when the disk fills up."""
