from pathlib import Path

import pytest

from benchmarks.bulk import plain
from benchmarks.bulk.answers import read_answers
from benchmarks.bulk.files import Files
from benchmarks.bulk.networks import Network
from benchmarks.bulk.onnx_session import open_session

N_ROWS = 123
FORMS = {"npy": "npy", "npy_mapped": "npy", "parquet": "parquet", "jsonl": "jsonl"}


@pytest.mark.parametrize("name", sorted(plain.SCRIPTS))
@pytest.mark.parametrize("count", [1, 2, 3])
def test_script_when_a_file_is_shared_out_then_every_row_has_the_models_answer(
    files: Files, mlp: Network, tmp_path: Path, name: str, count: int
) -> None:
    source, session = files.get(FORMS[name], N_ROWS), open_session(mlp.file)
    shares = [plain.Share(source, tmp_path / f"out-{n}{source.suffix}", n, count) for n in range(count)]
    n_done = [plain.SCRIPTS[name](session, share) for share in shares]
    assert sum(n_done) == N_ROWS
    scores = read_answers([share.out for share in shares], is_ordered=True)
    assert mlp.truth(files).check(scores, N_ROWS) > 0.9


def test_jsonl_when_more_shares_than_lines_then_some_have_nothing_to_do(
    files: Files, mlp: Network, tmp_path: Path
) -> None:
    source, session = files.get("jsonl", 2), open_session(mlp.file)
    shares = [plain.Share(source, tmp_path / f"out-{n}.jsonl", n, 5) for n in range(5)]
    assert sum(plain.jsonl(session, share) for share in shares) == 2


def test_run_scripts_when_two_run_then_their_answers_are_in_order(files: Files, mlp: Network, tmp_path: Path) -> None:
    source, small = files.get("npy", N_ROWS), files.get("npy", 10)
    folder = files.fresh("plain")
    seconds, outs = plain.run_scripts("npy", mlp.file, source, folder, n_scripts=2, small=small)
    assert seconds > 0
    mlp.truth(files).check(read_answers(outs, is_ordered=True), N_ROWS)


def test_run_scripts_when_one_fails_then_it_is_said(files: Files, mlp: Network, tmp_path: Path) -> None:
    broken = tmp_path / "broken.npy"
    broken.write_bytes(b"no array")
    with pytest.raises(RuntimeError, match="ended with status 1"):
        plain.run_scripts("npy", mlp.file, broken, tmp_path, n_scripts=1, small=files.get("npy", 10))
