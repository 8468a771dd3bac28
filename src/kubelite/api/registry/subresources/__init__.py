"""Paths below an object that do something of their own, one file each."""
