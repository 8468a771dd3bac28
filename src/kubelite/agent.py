"""The composition root of a joining node."""
