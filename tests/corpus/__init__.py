"""Inputs that tests and benchmarks share."""
