import os
import sys
from errno import ENOSPC
from pathlib import Path

import pytest

from ferry.bulk import storage as module
from ferry.bulk.storage import Storage, storage_errors, storage_of
from ferry.errors import ConfigError, NotFoundError, StorageError
from ferry.settings import Settings

KEY = "files/file-abc"


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(str(tmp_path / "root"))


def put(storage: Storage, key: str, content: bytes) -> None:
    with storage.create(key) as upload:
        upload.write(content)


def everything(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in tmp_path.rglob("*") if path.is_file())


def test_create_when_committed_then_read_whole_in_part_and_with_its_size(storage: Storage) -> None:
    with storage.create(KEY) as upload:
        for piece in (b"abc", bytearray(b"def"), memoryview(b"ghi")):
            upload.write(piece)
    with storage.open(KEY) as file:
        assert file.seek(3) == 3
        assert file.read() == b"defghi"
    assert storage.read_range(KEY, 2, 4) == b"cd"
    assert storage.read_range(KEY, 8, 100) == b"i"
    assert storage.read_range(KEY, 4, 4) == b""
    assert storage.size_bytes(KEY) == 9


def test_create_when_not_yet_committed_then_nobody_sees_it(storage: Storage) -> None:
    upload = storage.create(KEY)
    upload.write(b"x")
    with pytest.raises(NotFoundError):
        storage.open(KEY)
    assert storage.list_folder("files") == {}
    upload.commit()
    assert storage.list_folder("files") == {KEY: 1}


def test_create_when_the_key_is_taken_then_the_old_file_is_whole_until_the_new_one_is(storage: Storage) -> None:
    put(storage, KEY, b"old")
    upload = storage.create(KEY)
    upload.write(b"newer")
    assert storage.read_range(KEY, 0, 10) == b"old"
    upload.commit()
    assert storage.read_range(KEY, 0, 10) == b"newer"


def test_create_when_the_block_fails_then_nothing_is_left(storage: Storage, tmp_path: Path) -> None:
    def interrupted() -> None:
        with storage.create(KEY) as upload:
            upload.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert everything(tmp_path) == []


def test_abort_when_called_twice_or_after_commit_then_nothing_happens(storage: Storage, tmp_path: Path) -> None:
    upload = storage.create(KEY)
    upload.write(b"x")
    upload.commit()
    upload.abort()
    upload.abort()
    assert storage.size_bytes(KEY) == 1


def test_create_when_the_disk_is_full_then_a_storage_error_that_says_so(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(handle: int) -> None:
        raise OSError(ENOSPC, os.strerror(ENOSPC))

    monkeypatch.setattr(module.os, "fsync", full)
    with pytest.raises(StorageError, match=r"takes no more.*No space left"):
        put(storage, KEY, b"x")
    assert everything(tmp_path) == []


def test_create_when_the_root_cannot_be_made_then_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="does not answer or refuses"):
        Storage(str(tmp_path / "file" / "root")).create(KEY)


def test_write_when_the_device_is_full_then_a_storage_error() -> None:
    with pytest.raises(StorageError, match="takes no more"), storage_errors(), Path("/dev/full").open("wb", 0) as file:
        file.write(b"x")


def test_read_when_there_is_no_such_file_then_not_found(storage: Storage) -> None:
    for read in (storage.open, storage.size_bytes, lambda key: storage.read_range(key, 0, 1)):
        with pytest.raises(NotFoundError):
            read(KEY)


@pytest.mark.parametrize(("start", "end"), [(-1, 2), (3, 2)])
def test_read_range_when_it_is_none_then_refused(storage: Storage, start: int, end: int) -> None:
    with pytest.raises(ValueError, match="0 <= start <= end"):
        storage.read_range(KEY, start, end)


def test_delete_when_repeated_then_fine_and_gone(storage: Storage) -> None:
    put(storage, KEY, b"x")
    storage.delete(KEY)
    storage.delete(KEY)
    assert storage.list_folder("files") == {}


def test_delete_when_a_writer_died_then_its_leavings_go_too(storage: Storage, tmp_path: Path) -> None:
    dead, other = storage.create(KEY), storage.create("files/file-abcd")
    dead.write(b"half")
    storage.delete(KEY)
    (left,) = everything(tmp_path)
    assert left.startswith(".file-abcd.")
    dead.abort()
    other.abort()


def test_delete_folder_when_there_are_others_then_only_what_is_below_it(storage: Storage) -> None:
    for key in ("b/1/parts/x", "b/1/y", "b/10/z"):
        put(storage, key, b"x")
    storage.delete_folder("b/1")
    storage.delete_folder("b/2")
    assert storage.list_folder("b") == {"b/10/z": 1}


def test_list_folder_when_asked_then_sizes_by_key_in_order(storage: Storage) -> None:
    for key, size in (("b/2", 2), ("b/1/c", 3), ("c", 1)):
        put(storage, key, b"x" * size)
    assert list(storage.list_folder("b").items()) == [("b/1/c", 3), ("b/2", 2)]
    assert storage.list_folder("nothing") == {}


@pytest.mark.parametrize("key", ["", "/etc/passwd", "../x", "a/../b", "a//b", "a/.x", "a b", "a\n", "ä", "a/"])
def test_key_when_it_is_none_of_ours_then_refused(storage: Storage, key: str) -> None:
    for call in (storage.create, storage.open, storage.delete, storage.delete_folder, storage.size_bytes):
        with pytest.raises(ValueError, match="is no key"):
            call(key)


def test_storage_of_when_nothing_is_named_then_a_folder_beside_the_other_data(tmp_path: Path) -> None:
    put(storage_of(Settings(_env_file=None, data_dir=tmp_path)), KEY, b"x")
    assert (tmp_path / "files" / KEY).read_bytes() == b"x"


@pytest.mark.parametrize("prefix", ["", "file://"])
def test_storage_of_when_a_folder_is_named_then_that_one(tmp_path: Path, prefix: str) -> None:
    put(storage_of(Settings(_env_file=None, storage_url=f"{prefix}{tmp_path}/own")), KEY, b"x")
    assert (tmp_path / "own" / KEY).read_bytes() == b"x"


def test_storage_of_when_the_kind_is_unknown_then_a_config_error() -> None:
    with pytest.raises(ConfigError, match="FERRY_STORAGE_URL"):
        storage_of(Settings(_env_file=None, storage_url="carrier-pigeon://coop"))


def test_storage_of_when_s3_is_not_installed_then_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(ConfigError, match="uv sync --group s3"):
        storage_of(Settings(_env_file=None, storage_url="s3://bucket/prefix"))


def test_storage_errors_when_the_error_is_a_bug_then_it_passes() -> None:
    with pytest.raises(ZeroDivisionError), storage_errors():
        _ = 1 / 0
