"""What is sent: handwritten digits as the floats a client would send, and what they are."""

import numpy as np

from benchmarks.places import SAMPLES

N_PROBES = 20

Pixels = list[list[float]]  # 28 rows of 28 values, 0 (paper) to 1 (ink)


def digits(count: int = N_PROBES) -> list[tuple[Pixels, int]]:
    """Return sample digits the model reads rightly, each with its class.

    The floats are grey values divided by 255 in full precision, as `(image / 255).tolist()` gives them.
    """
    with np.load(SAMPLES, allow_pickle=False) as file:
        images, truths = file["x"], file["y"]
    return [((image / 255).tolist(), int(truth)) for image, truth in zip(images[:count], truths[:count], strict=True)]


def rows(count: int) -> "np.ndarray":
    """Return rows for a job. Shape: (count, 28, 28) float32."""
    with np.load(SAMPLES, allow_pickle=False) as file:
        images = file["x"]
    picks = np.arange(count) % len(images)
    return (images[picks] / 255).astype(np.float32)
