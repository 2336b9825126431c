"""Write ResNet-50 with random weights into a model repository. Runs in the environment of `make train`.

.venv-training/bin/python -m benchmarks.export_resnet FOLDER
"""

import sys
from pathlib import Path

import keras
import onnx
import tensorflow as tf
import tf2onnx

from ferry.manifest import MODEL_FILE, Manifest, TensorSpec, sha256_of, write_manifest
from training.export import IR_VERSION, OPSET, name_batch_axis

SHAPE = (224, 224, 3)
CLASSES = 1000
SEED = 1


def main(root: Path) -> None:
    """Export and write the manifest."""
    keras.utils.set_random_seed(SEED)
    model = keras.applications.ResNet50(weights=None)
    spec = tf.TensorSpec((None, *SHAPE), tf.float32, name="x")
    function = tf.function(lambda x: {"y": model(x, training=False)}, input_signature=[spec])
    proto, _ = tf2onnx.convert.from_function(function, input_signature=[spec], opset=OPSET)
    proto.ir_version = IR_VERSION
    name_batch_axis(proto)
    folder = root / "resnet50" / "1"
    folder.mkdir(parents=True, exist_ok=True)
    onnx.checker.check_model(proto)
    onnx.save(proto, folder / MODEL_FILE)
    manifest = Manifest(
        name="resnet50",
        version="1",
        inputs=(TensorSpec(name="x", dtype="float32", shape=(None, *SHAPE)),),
        outputs=(TensorSpec(name="y", dtype="float32", shape=(None, CLASSES)),),
        sha256=sha256_of(folder / MODEL_FILE),
    )
    write_manifest(manifest, folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
