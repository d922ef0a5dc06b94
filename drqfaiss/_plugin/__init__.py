"""Which FAISS this is, what its objects look like in memory, and what of the plug-in may work in it.

Nothing is looked at before the first index needs it: see `available`.
"""
