"""Bulk batches: files of rows, worked through chunk by chunk on the same queue."""
