"""Train, evaluate, export and verify models. Knows of Ferry only the manifest."""
