"""What all comparisons share: vectors, methods, tables and the look of plots."""
