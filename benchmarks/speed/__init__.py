"""How fast search, encoding and training are, case by case."""
