"""How fast which recall is, with inverted lists."""
