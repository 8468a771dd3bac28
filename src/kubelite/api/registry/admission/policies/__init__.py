"""Admission policies: expressions that refuse or change what is written."""
