"""Tests of table columns."""
