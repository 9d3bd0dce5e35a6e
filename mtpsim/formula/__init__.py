"""The closed form, and the definitions of an acceptance rate."""
