"""Metrics of the whole process."""
