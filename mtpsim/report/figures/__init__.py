"""Figures of a result, a fit and a plan."""
