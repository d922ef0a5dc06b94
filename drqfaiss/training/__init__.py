"""Training of quantizers."""
