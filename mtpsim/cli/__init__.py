"""The command line: one module per command; all raise InputError for what can't be used."""
