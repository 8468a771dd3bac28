"""Admission policies: expressions that refuse or change what is written, and what both kinds of them share."""
