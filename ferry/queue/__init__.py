"""The durable queue: jobs, claims and tickets in Redis. Knows nothing of HTTP, Celery workers or models."""
