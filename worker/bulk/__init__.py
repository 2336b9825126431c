"""Bulk batches in a worker: check a file, run its chunks between the jobs that will not wait, assemble the output."""
