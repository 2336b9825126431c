"""The HTTP face of Ferry: checks requests, submits jobs, answers polls. Loads no model."""
