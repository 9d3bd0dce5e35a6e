"""The closed form of the speedup, and the definitions of an acceptance rate."""
