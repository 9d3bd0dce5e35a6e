"""The experiment file: sections, validation, sweeps, hashing."""
