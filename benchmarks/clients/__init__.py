"""What ``adopt`` brings to a library that holds an index."""
