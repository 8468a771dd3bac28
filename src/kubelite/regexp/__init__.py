"""Untrusted regular expressions in Go's syntax, matched in time linear in the text."""
