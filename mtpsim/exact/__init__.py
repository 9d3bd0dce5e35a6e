"""Exact answers by linear algebra and dynamic programming."""
