"""Shared by all packages: errors, the base class of sections, types and text."""
