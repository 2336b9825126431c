"""What every network here takes and gives: tensor names, dtypes, shapes, labels.

The one place for these: export writes them into the model, verify holds the model to them, the manifest states them.
Knows nothing of TensorFlow.
"""

from ferry.manifest import Preprocess, TensorSpec

# Name of the free batch axis in the ONNX file, the same on input and output.
BATCH_AXIS = "N"
IMAGE_SIDE = 28
# A grey value of the data is a byte; divided by this it lies in the input's range.
PIXEL_MAX = 255.0

# Images, and tables of pixels (pixel0, pixel1, ... as in the MNIST of Kaggle), are as in the data: white ink on black.
PREPROCESS = Preprocess(
    mode="L", size=(IMAGE_SIDE, IMAGE_SIDE), layout="HW", background=(0, 0, 0), scale=1 / PIXEL_MAX, columns="pixel{}"
)
# (N, H, W), white ink (1.0) on black (0.0)
INPUT = TensorSpec(
    name="x", dtype="float32", shape=(None, IMAGE_SIDE, IMAGE_SIDE), range=(0.0, 1.0), preprocess=PREPROCESS
)
LABELS = tuple("0123456789")
# (N, K), each row sums to 1
OUTPUT = TensorSpec(name="probabilities", dtype="float32", shape=(None, len(LABELS)))
