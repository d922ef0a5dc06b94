"""Compares drqfaiss with FAISS's quantizers, by question; every program is run from the repository's root."""
