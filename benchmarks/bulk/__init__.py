"""Files of many rows: Ferry's batches beside plain scripts, Ray Data and Celery: `make bench-bulk`."""
