"""The defaulting functions of built-in kinds, one file per group. All change the object in place."""
