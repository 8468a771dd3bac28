"""Structured log lines."""
