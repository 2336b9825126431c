"""The Celery worker: holds onnxruntime sessions and runs batches. Knows nothing of HTTP."""
