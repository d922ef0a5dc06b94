"""Which code suits embeddings, of 8 bytes a vector and more."""
