"""The inspection: reads an ONNX file, runs it on made-up rows, writes down what it takes and gives; or refuses it.

A hostile file may end the process that reads it, so `ferry/inspection_process.py` starts this in one of its own, and
nothing else of the worker imports it. `manifests.py` says what happens in which order. Knows nothing of jobs.
"""
