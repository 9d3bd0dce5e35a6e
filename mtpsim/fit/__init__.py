"""Fit logs: acceptance models by likelihood, noise distributions, cost models."""
