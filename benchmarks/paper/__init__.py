"""What training with labels reaches, in the paper's experiments."""
