"""Small networks and classical models with a free batch axis, written to ONNX by the tools that people use.

    python -m tests.corpus.exports.from_keras FOLDER    # tf2onnx; in the environment that `make test-training` makes
    python -m tests.corpus.exports.from_sklearn FOLDER  # skl2onnx
    python -m tests.corpus.exports.from_torch FOLDER    # torch and onnxscript

Each writes `NAME.onnx` and `NAME.npz` with the jobs, as `tests.corpus.real_models` reads them: arrays `<input>/<job>`.
Ferry does not install skl2onnx and torch; no test needs them. All rows are independent, so all must stay batched.
"""
