"""The rules of the built-in kinds: what makes an object invalid, worded as Kubernetes words it."""
