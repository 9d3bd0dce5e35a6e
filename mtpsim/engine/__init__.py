"""Compile an experiment; run blocks of requests on workers."""
