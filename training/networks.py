"""The networks that can be trained, by name. Knows nothing of data, files or ONNX.

Each takes (N, 28, 28) float32 in 0..1 and gives (N, 10) probabilities.
"""

from collections.abc import Callable

import keras
from keras import layers

from training.signature import IMAGE_SIDE, INPUT, LABELS


def build(network: str) -> keras.Model:
    """Build and compile a network with fresh weights from the global seed."""
    model = keras.Sequential([keras.Input(INPUT.inner_shape, name=INPUT.name), *BUILDERS[network]()], name=network)
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def _mlp() -> list[keras.Layer]:
    """Lay out the network of Keras' first MNIST examples."""
    return [
        layers.Flatten(),  # (N, 784)
        layers.Dense(128, activation="relu"),  # (N, 128)
        layers.Dense(len(LABELS), activation="softmax"),  # (N, 10)
    ]


def _cnn() -> list[keras.Layer]:
    """Lay out a small convolutional network: under half the mlp's errors for some four times its training time."""
    return [
        layers.Reshape((IMAGE_SIDE, IMAGE_SIDE, 1)),  # (N, H, W, C): the input has no channel axis
        layers.Conv2D(16, 3, activation="relu"),  # (N, 26, 26, 16)
        layers.MaxPooling2D(),  # (N, 13, 13, 16)
        layers.Conv2D(32, 3, activation="relu"),  # (N, 11, 11, 32)
        layers.MaxPooling2D(),  # (N, 5, 5, 32)
        layers.Flatten(),  # (N, 800)
        layers.Dense(128, activation="relu"),
        layers.Dropout(0.5),
        layers.Dense(len(LABELS), activation="softmax"),  # (N, 10)
    ]


BUILDERS: dict[str, Callable[[], list[keras.Layer]]] = {"mlp": _mlp, "cnn": _cnn}
