"""The simulation kernels, compiled by numba: they read and write arrays only."""
