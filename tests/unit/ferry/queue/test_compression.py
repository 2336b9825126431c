import lz4.frame
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferry.manifest import MAX_MAX_JOB_ROWS
from ferry.queue.compression import compress, decompress

RANDOM = np.random.default_rng(7).bytes(200_000)


@given(st.binary(max_size=200) | st.binary(max_size=20).map(lambda raw: raw * 2000))
def test_decompress_when_compressed_then_the_same_bytes(raw: bytes) -> None:
    assert decompress(compress(raw)) == raw


@pytest.mark.parametrize("size", [100, 16 * 1024, 200_000])
def test_compress_when_it_pays_then_a_frame_that_others_can_read(size: int) -> None:
    stored = compress(b"\0" * size)
    assert len(stored) < size / 2
    assert lz4.frame.decompress(stored) == b"\0" * size


@pytest.mark.parametrize("size", [0, 1, 100, 16 * 1024, 200_000])
def test_compress_when_it_does_not_pay_then_as_it_is(size: int) -> None:
    assert compress(RANDOM[:size]) == RANDOM[:size]


def test_compress_when_only_the_beginning_shrinks_then_as_it_is() -> None:
    raw = b"\0" * 20_000 + RANDOM
    assert compress(raw) == raw


def test_decompress_when_the_frame_is_damaged_then_runtime_error() -> None:
    with pytest.raises(RuntimeError):
        decompress(compress(b"\0" * 1000)[:-5])


def test_frame_when_compared_with_a_number_of_rows_then_no_job_has_so_many() -> None:
    assert int.from_bytes(compress(b"\0" * 1000)[:4], "little") > MAX_MAX_JOB_ROWS
