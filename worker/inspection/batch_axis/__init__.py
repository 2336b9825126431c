"""The static walk: follows the batch axis through an ONNX graph and says whether rows can influence each other.

Runs nothing and reads no file. Only the inspection process imports it, because it needs `onnx`.
"""

from worker.inspection.batch_axis.findings import Finding, Verdict
from worker.inspection.batch_axis.walk import walk

__all__ = ["Finding", "Verdict", "walk"]
