"""What FAISS's own functions do, for indexes of ours: adopt, clone, read, write, build from a description."""
