"""The experiment file: sections, validation, overrides, sweeps and hashes."""
