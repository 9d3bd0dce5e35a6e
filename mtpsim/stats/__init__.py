"""Moments, estimators, intervals and tests."""
