"""The composition root of the all-in-one process."""
