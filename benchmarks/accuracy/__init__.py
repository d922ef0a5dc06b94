"""How well codes of equal size find neighbours."""
