"""Write a trained network as SavedModel and as ONNX, both with the names of `signature`.

Knows nothing of data or of where the files are published.
"""

import logging
from pathlib import Path

import keras
import onnx
import tensorflow as tf
import tf2onnx

from training.signature import BATCH_AXIS, INPUT, OUTPUT

# The newest opset tf2onnx 1.17 writes (its constants.py); onnxruntime reads far newer ones.
OPSET = 18
# Pinned, so that a newer converter does not write a file that older runtimes refuse; 8 is what opset 18 came with.
IR_VERSION = 8

SPEC = tf.TensorSpec(INPUT.shape, INPUT.dtype, name=INPUT.name)


def save_saved_model(model: keras.Model, folder: Path) -> None:
    """Write `model` as a SavedModel with the endpoint `serve`, for TensorFlow Serving and `tf.saved_model.load`."""
    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint("serve", lambda x: {OUTPUT.name: model(x, training=False)}, input_signature=[SPEC])
    archive.write_out(str(folder), verbose=False)


def save_onnx(model: keras.Model, path: Path) -> None:
    """Write `model` as ONNX with a named, free batch axis.

    Source: `from_function` with a dict output keeps our names; `from_keras` fails on Keras 3 Sequential
    (onnx/tensorflow-onnx #2319).
    """
    # Unsupported ops are only logged there, and the file is broken; `verify` says so with the reason.
    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    function = tf.function(lambda x: {OUTPUT.name: model(x, training=False)}, input_signature=[SPEC])
    proto, _ = tf2onnx.convert.from_function(function, input_signature=[SPEC], opset=OPSET)
    proto.ir_version = IR_VERSION
    proto.graph.name = model.name
    name_batch_axis(proto)
    onnx.save(proto, path)


def name_batch_axis(proto: onnx.ModelProto) -> None:
    """Give the first axis of every input and output the one name, where tf2onnx has `unk__20` and `unk__21`.

    Without it nothing in the file says that both have the same number of rows.
    """
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = BATCH_AXIS
