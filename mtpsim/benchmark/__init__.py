"""How many requests a benchmark needs."""
