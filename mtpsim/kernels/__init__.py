"""The hot paths: numba alone, no model, no file, no Python object but arrays."""
