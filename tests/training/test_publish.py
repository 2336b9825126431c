import pytest

from ferry.errors import ConflictError
from training.publish import choose_target, draft_of


def test_choose_when_there_is_no_model_yet_then_it_is_version_1(tmp_path):
    assert choose_target(tmp_path, "m", version=None, is_replacing=False) == tmp_path / "m/1"


def test_choose_when_versions_exist_then_it_is_the_one_after_the_highest(tmp_path):
    for entry in ("2", "10", ".11.draft", "notes", "012"):
        (tmp_path / "m" / entry).mkdir(parents=True)

    assert choose_target(tmp_path, "m", version=None, is_replacing=False) == tmp_path / "m/11"


def test_choose_when_the_version_exists_then_it_is_refused_unless_it_is_to_be_replaced(tmp_path):
    (tmp_path / "m/1").mkdir(parents=True)

    with pytest.raises(ConflictError, match="--force"):
        choose_target(tmp_path, "m", version="1", is_replacing=False)
    assert choose_target(tmp_path, "m", version="1", is_replacing=True) == tmp_path / "m/1"


def test_draft_when_the_block_runs_then_no_reader_sees_a_version(tmp_path):
    with draft_of(tmp_path / "m/1", is_replacing=False) as draft:
        (draft / "file").touch()
        assert not (tmp_path / "m/1").exists()
        assert [entry.name[0] for entry in (tmp_path / "m").iterdir()] == ["."]

    assert [str(path.relative_to(tmp_path)) for path in sorted(tmp_path.rglob("*"))] == ["m", "m/1", "m/1/file"]


def test_draft_when_the_block_raises_then_nothing_is_left(tmp_path):
    def fail():
        with draft_of(tmp_path / "m/1", is_replacing=False) as draft:
            (draft / "file").touch()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()

    assert list(tmp_path.iterdir()) == []


def test_draft_when_the_block_raises_then_other_versions_stay(tmp_path):
    (tmp_path / "m/1").mkdir(parents=True)

    with pytest.raises(RuntimeError), draft_of(tmp_path / "m/1", is_replacing=True):
        raise RuntimeError

    assert [entry.name for entry in (tmp_path / "m").iterdir()] == ["1"]


def test_draft_when_another_publishes_meanwhile_then_theirs_stays(tmp_path):
    def publish_late():
        with draft_of(tmp_path / "m/1", is_replacing=False):
            (tmp_path / "m/1").mkdir()
            (tmp_path / "m/1/theirs").touch()

    with pytest.raises(ConflictError):
        publish_late()

    assert [str(path.relative_to(tmp_path)) for path in sorted(tmp_path.rglob("*"))] == ["m", "m/1", "m/1/theirs"]


def test_draft_when_replacing_then_the_old_version_is_gone(tmp_path):
    (tmp_path / "m/1").mkdir(parents=True)
    (tmp_path / "m/1/old").touch()

    with draft_of(tmp_path / "m/1", is_replacing=True) as draft:
        (draft / "new").touch()

    assert [str(path.relative_to(tmp_path)) for path in sorted(tmp_path.rglob("*"))] == ["m", "m/1", "m/1/new"]
