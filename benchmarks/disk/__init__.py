"""Searches of an index whose last levels are on disk."""
