"""Whether tuning keeps its promises, and what it saves."""
