"""Shards on many machines: what Ray and HTTP cost, what losses cost, and what a billion vectors need."""
