"""A fake model, and a file taken through every step as the bulk worker would."""

import io
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import orjson

from ferry.bulk.formats.base import Chunk, ChunkRows, Index, PartResult, RowFault, Rules, unrun_faults
from ferry.bulk.formats.error_lines import assemble_errors, write_errors
from ferry.bulk.formats.registry import check_joined, format_named
from tests.manifests import manifest, spec

LABELS = ("no", "maybe", "yes")
TOY = manifest(inputs=(spec("x", "float32", 2, 3),), outputs=(spec("y", "float32", 3),), labels=LABELS)


def rules(model=TOY, **more) -> Rules:
    return Rules(**{"manifest": model, "endpoint": "predictions", "chunk_rows": 4} | more)


def rows_of(n: int) -> np.ndarray:
    return np.random.default_rng(7).random((n, 2, 3), dtype=np.float32)


def fake_model(x: np.ndarray) -> np.ndarray:
    """Return (N, 3) scores of x (N, 2, 3)."""
    return x.sum(axis=1) * np.array([1, 2, 3], np.float32)


def index(name: str, data: bytes, given: Rules) -> Index:
    return format_named(name).index(io.BytesIO(data), given)


def chunks_of(name: str, data: bytes, given: Rules) -> list[ChunkRows]:
    found = index(name, data, given)
    assert found.faults == ()
    assert sum(chunk.rows for chunk in found.chunks) == found.rows
    restored = [Chunk.from_dict(orjson.loads(orjson.dumps(chunk.to_dict()))) for chunk in found.chunks]
    assert [chunk.first for chunk in restored] == np.cumsum([0, *(c.rows for c in restored)])[:-1].tolist()
    return [format_named(name).read(io.BytesIO(data), chunk, given) for chunk in restored]


def whole(chunks: list[ChunkRows], place: int = 0) -> np.ndarray:
    """Return input `place` of all rows in order, where each chunk has one group at most."""
    arrays = [group.arrays[place] for rows in chunks for group in rows.groups if group.positions]
    return np.concatenate(arrays)


def faults_of(chunks: list[ChunkRows]) -> list[RowFault]:
    return [fault for rows in chunks for fault in rows.faults]


def run(
    name: str,
    data: bytes,
    given: Rules,
    output: str | None = None,
    model: Callable[[np.ndarray], np.ndarray] = fake_model,
    fail: tuple[str, ...] = (),
    lost: tuple[int, ...] = (),
) -> tuple[bytes, list[dict]]:
    """Return the assembled output file and the lines of the error file.

    Rows with an id in `fail` fail in the model. Chunks of a number in `lost` killed the worker before they were read.
    """
    writer = format_named(output or name)
    writer.check_output(given)
    check_joined(index(name, data, given).joined, output or name)
    parts, errors = [], []
    for number, read in enumerate(chunks_of(name, data, given)):
        rows = read
        if number in lost:
            rows = ChunkRows(rows.ids, rows.numbers, (), unrun_faults(replace(rows, faults=()), "worker_lost", "no"))
        failed = tuple(RowFault(p, "model_error", "no", None, 500) for p, i in enumerate(rows.ids) if i in fail)
        result = PartResult(rows, [[model(group.arrays[0])] for group in rows.groups], failed)
        part, error = io.BytesIO(), io.BytesIO()
        n_rows, n_errors = writer.write_part(part, result, given), write_errors(error, result, given)
        # In arrays a row that failed has its place.
        assert n_rows == len(rows.ids) - (0 if writer.name in ("npy", "npz") else n_errors)
        parts.append(part.getvalue())
        errors.append(error.getvalue())
    out, error_out = io.BytesIO(), io.BytesIO()
    writer.assemble([lambda raw=raw: io.BytesIO(raw) for raw in parts], out)
    assemble_errors([lambda raw=raw: io.BytesIO(raw) for raw in errors], error_out)
    return out.getvalue(), [orjson.loads(line) for line in error_out.getvalue().splitlines()]


def npy(array: np.ndarray, **more) -> bytes:
    out = io.BytesIO()
    np.save(out, array, **more)
    return out.getvalue()


def jsonl(lines: list) -> bytes:
    return b"".join(orjson.dumps(line, option=orjson.OPT_SERIALIZE_NUMPY) + b"\n" for line in lines)


def envelopes(bodies: list, url: str = "/v1/predictions") -> bytes:
    return jsonl([{"custom_id": f"r{i}", "method": "POST", "url": url, "body": b} for i, b in enumerate(bodies)])


def codes(found: Index) -> list[tuple[str, int | None]]:
    return [(fault.code, fault.line) for fault in found.faults]
