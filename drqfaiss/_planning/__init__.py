"""From numbers of vectors, dimensions and bytes to the index to build."""
