"""Write a network with random weights into a model repository. Runs in the environment of `make train`.

.venv-training/bin/python -m benchmarks.export_model resnet50 FOLDER
"""

import sys
from pathlib import Path

import keras
import onnx
import tensorflow as tf
import tf2onnx

from ferry.manifest import MODEL_FILE, Execution, ExecutionMode, Manifest, TensorSpec, sha256_of, write_manifest
from training.export import IR_VERSION, OPSET, name_batch_axis
from training.networks import build

SEED = 1
# Name: the network, the shape of a row, classes.
NETWORKS = {
    "resnet50": (lambda: keras.applications.ResNet50(weights=None), (224, 224, 3), 1000),
    "cnn": (lambda: build("cnn"), (28, 28), 10),
}


def main(name: str, root: Path) -> None:
    """Export and write the manifest."""
    make, shape, n_classes = NETWORKS[name]
    keras.utils.set_random_seed(SEED)
    model = make()
    spec = tf.TensorSpec((None, *shape), tf.float32, name="x")
    function = tf.function(lambda x: {"y": model(x, training=False)}, input_signature=[spec])
    proto, _ = tf2onnx.convert.from_function(function, input_signature=[spec], opset=OPSET)
    proto.ir_version = IR_VERSION
    name_batch_axis(proto)
    folder = root / name / "1"
    folder.mkdir(parents=True, exist_ok=True)
    onnx.checker.check_model(proto)
    onnx.save(proto, folder / MODEL_FILE)
    manifest = Manifest(
        name=name,
        version="1",
        inputs=(TensorSpec(name="x", dtype="float32", shape=(None, *shape)),),
        outputs=(TensorSpec(name="y", dtype="float32", shape=(None, n_classes)),),
        execution=Execution(mode=ExecutionMode.BATCHED, reason="every layer works on one row alone"),
        sha256=sha256_of(folder / MODEL_FILE),
    )
    write_manifest(manifest, folder)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
