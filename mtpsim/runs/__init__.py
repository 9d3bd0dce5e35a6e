"""Runs: every point of an experiment, the run directory, merging."""
