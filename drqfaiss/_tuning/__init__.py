"""Finds the fastest setting of a search that reaches a recall."""
