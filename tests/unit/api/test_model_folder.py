import asyncio
import threading
from pathlib import Path

import pytest

from api.model_folder import ModelFolder
from ferry.repository import Fingerprint, Repository
from tests import onnx_models
from tests.integration.conftest import publish
from tests.manifests import manifest

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # a loop that does not skip the time while a thread hangs


class Hanging(Repository):
    """Answers when it is let go, as a network drive may."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.go_on = threading.Event()
        self.n_looks = 0

    def fingerprint(self) -> Fingerprint:
        self.n_looks += 1
        self.go_on.wait(60)
        return super().fingerprint()


async def test_look_when_the_folder_hangs_then_all_is_as_it_was_and_one_thread_waits(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = publish(tmp_path, onnx_models.doubled(), manifest("toy"))
    repository = Hanging(tmp_path)
    folder = ModelFolder(repository, limit_s=0.01)
    for _ in range(3):
        await folder.look()
    assert (folder.manifests, repository.n_looks) == ({}, 1)
    assert [record.msg.partition(":")[0] for record in caplog.records] == ["model_folder_hangs"]
    repository.go_on.set()
    async with asyncio.timeout(60):
        while not folder.manifests:
            await folder.look()
    assert folder.path_of(made) == tmp_path / "toy" / "1"
    assert folder.digests == {("toy", "1"): made.digest}


async def test_look_when_it_fails_then_raised_and_the_next_one_looks_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = ModelFolder(Repository(tmp_path))
    with monkeypatch.context() as patched:
        patched.setattr(Repository, "fingerprint", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            await folder.look()
    publish(tmp_path, onnx_models.doubled(), manifest("toy"))
    await folder.look()
    assert list(folder.manifests) == [("toy", "1")]
    assert folder.path_of(manifest("other")) is None
