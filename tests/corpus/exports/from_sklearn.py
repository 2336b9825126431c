"""scikit-learn models through skl2onnx: a table with text columns, neighbours, a network, trees, a pipeline."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from skl2onnx import to_onnx
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.decomposition import PCA
from sklearn.ensemble import ExtraTreesRegressor, GradientBoostingClassifier
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from tests.corpus.exports.jobs import N_JOBS, MakeJob, folder_of_arguments, write_jobs

OPSETS = {"": 17, "ai.onnx.ml": 3}
_PLACES = np.array(["Berlin", "Kraków", "Oslo"], dtype=object)


def _rows_of(name: str, rows: NDArray[Any]) -> MakeJob:
    return lambda n: {name: rows[n % len(rows)][None]}


def write_all(folder: Path) -> None:
    """Train, convert and write every model with its jobs."""
    iris, cancer, diabetes = load_iris(), load_breast_cancer(), load_diabetes()
    classifiers = {
        "sklearn_scaled_pca_network": (make_pipeline(StandardScaler(), PCA(6), MLPClassifier((16,))), cancer),
        "sklearn_neighbours": (KNeighborsClassifier(3), iris),
        "sklearn_gradient_boosting": (GradientBoostingClassifier(n_estimators=10), cancer),
    }
    regressors = {
        "sklearn_extra_trees": (ExtraTreesRegressor(20, random_state=0), diabetes),
        "sklearn_gaussian_process": (GaussianProcessRegressor(alpha=1.0), diabetes),
    }
    for name, (model, data) in (classifiers | regressors).items():
        rows = data.data.astype(np.float32)
        model.fit(rows, data.target)
        options = {"zipmap": False} if name in classifiers else None
        proto = to_onnx(model, rows[:1], options=options, target_opset=OPSETS)
        onnx.save(proto, folder / f"{name}.onnx")
        write_jobs(folder / f"{name}.onnx", _rows_of(proto.graph.input[0].name, rows[:: len(rows) // N_JOBS]))
    _write_table(folder)


def _write_table(folder: Path) -> None:
    """Write a model of a table: a column of text and two of numbers, each an input of its own."""
    import pandas as pd  # noqa: PLC0415  only this model has named columns of several types

    random = np.random.default_rng(0)
    table = pd.DataFrame({"place": random.choice(_PLACES, 200), "age": random.normal(40, 9, 200).astype(np.float32)})
    encoder = make_column_transformer((OneHotEncoder(), ["place"]), (StandardScaler(), ["age"]))
    model = make_pipeline(encoder, MLPClassifier((8,))).fit(table, table.age > 40)
    proto = to_onnx(model, table[:1], options={"zipmap": False}, target_opset=OPSETS)
    onnx.save(proto, folder / "sklearn_table.onnx")

    def job(n: int) -> dict[str, NDArray[np.generic]]:
        place = np.array([[str(table.place[n])]])
        return {"place": place, "age": np.array([[table.age[n]]], np.float32)}

    write_jobs(folder / "sklearn_table.onnx", job)
    # The encoder raises on words that it was not trained with, so made-up ones cannot be tried.
    jobs = [job(n) for n in range(N_JOBS)]
    example = {name: np.concatenate([each[name] for each in jobs]) for name in jobs[0]}
    np.savez(folder / "sklearn_table.example.npz", **example)


if __name__ == "__main__":
    write_all(folder_of_arguments())
