"""The write hooks of kinds with behaviour of their own; one file per kind or small family."""
