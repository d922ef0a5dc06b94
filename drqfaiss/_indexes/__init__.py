"""The index classes, and how they do their work in the FAISS at hand."""
