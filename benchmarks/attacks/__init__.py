"""Hostile clients beside honest ones, on the loopback, for a bounded time: `make bench-attacks`."""
