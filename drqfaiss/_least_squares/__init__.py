"""Training without labels in NumPy: codes by beam search, codebooks and scales in closed form.

Every index trains with it. It knows the core, but neither FAISS's indexes nor `Quantizer`.
"""
