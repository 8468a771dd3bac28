"""How objects get and keep the form of their kind: types, pruning, defaults, and constraints of custom resources."""
