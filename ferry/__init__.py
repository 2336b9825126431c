"""What the API and the worker agree on, and what a user imports."""
