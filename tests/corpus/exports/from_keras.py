"""Keras networks through tf2onnx: dense, convolutions, recurrent, attention, text, two inputs."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
import tensorflow as tf
import tf2onnx
from keras import Model, layers

from tests.corpus.exports.jobs import MakeJob, floats, folder_of_arguments, ids, joined, write_jobs

OPSET = 18
IR_VERSION = 8
_VOCABULARY = 500

# Name, network, the signature of each input, its jobs.
Export = tuple[str, Model, dict[str, Any], MakeJob]


def _float(*inner: int | None) -> Any:
    return tf.TensorSpec((None, *inner), tf.float32)


def _ids(*inner: int | None) -> Any:
    return tf.TensorSpec((None, *inner), tf.int64)


def _dense_with_batch_normalization() -> Export:
    x = layers.Input((20,))
    h = layers.BatchNormalization()(layers.Dense(32, activation="relu")(x))
    y = layers.Dense(5, activation="softmax")(layers.Dropout(0.3)(h))
    return "keras_dense_bn", Model(x, y), {"x": _float(20)}, floats("x", 20)


def _convolutions_with_shortcut() -> Export:
    x = layers.Input((16, 16, 3))
    h = layers.Conv2D(8, 3, padding="same", activation="relu")(x)
    h = layers.Add()([h, layers.DepthwiseConv2D(3, padding="same")(h)])
    y = layers.Dense(4)(layers.GlobalAveragePooling2D()(layers.MaxPooling2D()(h)))
    return "keras_conv_shortcut", Model(x, y), {"x": _float(16, 16, 3)}, floats("x", 16, 16, 3)


def _lstm() -> Export:
    x = layers.Input((None, 6))
    y = layers.Dense(3)(layers.LSTM(10)(x))
    return "keras_lstm", Model(x, y), {"x": _float(None, 6)}, floats("x", 7, 6)


def _bidirectional_gru() -> Export:
    x = layers.Input((9, 6))
    y = layers.TimeDistributed(layers.Dense(2))(layers.Bidirectional(layers.GRU(8, return_sequences=True))(x))
    return "keras_bidirectional_gru", Model(x, y), {"x": _float(9, 6)}, floats("x", 9, 6)


def _attention() -> Export:
    x = layers.Input((12, 16))
    h = layers.LayerNormalization()(layers.Add()([x, layers.MultiHeadAttention(4, 4)(x, x)]))
    y = layers.Dense(3)(layers.GlobalAveragePooling1D()(h))
    return "keras_attention", Model(x, y), {"x": _float(12, 16)}, floats("x", 12, 16)


def _text_convolution() -> Export:
    x = layers.Input((30,), dtype="int64")
    h = layers.Conv1D(8, 3, activation="relu")(layers.Embedding(_VOCABULARY, 12)(x))
    y = layers.Dense(1, activation="sigmoid")(layers.GlobalMaxPooling1D()(h))
    return "keras_text_convolution", Model(x, y), {"x": _ids(30)}, ids("x", _VOCABULARY, 30)


def _two_inputs() -> Export:
    numbers, word = layers.Input((4,)), layers.Input((1,), dtype="int64")
    embedded = layers.Reshape((8,))(layers.Embedding(_VOCABULARY, 8)(word))
    y = layers.Dense(2)(layers.Concatenate()([numbers, embedded]))
    jobs = joined(floats("numbers", 4), ids("word", _VOCABULARY, 1))
    return "keras_two_inputs", Model([numbers, word], y), {"numbers": _float(4), "word": _ids(1)}, jobs


def _upsampling() -> Export:
    x = layers.Input((8, 8, 1))
    h = layers.Conv2DTranspose(4, 3, strides=2, padding="same", activation="elu")(x)
    y = layers.Conv2D(1, 3, padding="same", activation="sigmoid")(layers.UpSampling2D()(h))
    return "keras_upsampling", Model(x, y), {"x": _float(8, 8, 1)}, floats("x", 8, 8, 1)


def exports() -> Iterator[Export]:
    """Yield every export."""
    yield _dense_with_batch_normalization()
    yield _convolutions_with_shortcut()
    yield _lstm()
    yield _bidirectional_gru()
    yield _attention()
    yield _text_convolution()
    yield _two_inputs()
    yield _upsampling()


def write(folder: Path, export: Export) -> None:
    """Convert a network and write it with its jobs."""
    name, network, signature, make = export
    specs = [tf.TensorSpec(spec.shape, spec.dtype, name=key) for key, spec in signature.items()]
    function = tf.function(
        lambda *arrays: {"y": network(arrays if len(arrays) > 1 else arrays[0], training=False)}, input_signature=specs
    )
    proto, _ = tf2onnx.convert.from_function(function, input_signature=specs, opset=OPSET)
    proto.ir_version = IR_VERSION
    # tf2onnx names the arguments of a function with stars by their number.
    wanted = dict(zip((each.name for each in proto.graph.input), signature, strict=True))
    for node in proto.graph.node:
        node.input[:] = [wanted.get(each, each) for each in node.input]
    for value in proto.graph.input:
        value.name = wanted[value.name]
    onnx.save(proto, folder / f"{name}.onnx")
    write_jobs(folder / f"{name}.onnx", make)


if __name__ == "__main__":
    _folder = folder_of_arguments()
    for _export in exports():
        write(_folder, _export)
