"""Breaks everything at random while jobs run, and checks that none is lost: `make chaos`, `python -m tests.chaos`."""
