import json
from pathlib import Path

import pytest

from ferry.local.part_states import PARTS_FILE, PartState, PartStates, read_states, save_states


def test_states_when_a_part_ends_and_is_started_again_then_counted_with_its_last_end() -> None:
    saved: list[list[PartState]] = []
    states = PartStates(saved.append)
    for name in ("api", "flower"):
        states.note_start(name)
    states.note_end("flower", "flower was ended by SIGKILL")
    assert saved[-1] == [PartState("api"), PartState("flower", is_up=False, reason="flower was ended by SIGKILL")]
    states.note_start("flower")
    assert saved[-1][1] == PartState("flower", restarts=1, reason="flower was ended by SIGKILL")


def test_read_states_when_saved_then_the_same_and_none_without_a_readable_file(tmp_path: Path) -> None:
    assert read_states(tmp_path) == []
    states = [PartState("api"), PartState("flower", is_up=False, restarts=3, reason="it ended")]
    save_states(tmp_path, states)
    assert read_states(tmp_path) == states
    content = json.loads((tmp_path / PARTS_FILE).read_text())
    (tmp_path / PARTS_FILE).write_text(json.dumps(content | {"pid": 2**22 + 1}))  # no process has it
    assert read_states(tmp_path) == []
    (tmp_path / PARTS_FILE).write_text('[{"odd": 1}]')
    assert read_states(tmp_path) == []


@pytest.mark.parametrize("folder", ["none", "file/below"])
def test_save_states_when_the_folder_cannot_be_written_then_nothing_is_raised(tmp_path: Path, folder: str) -> None:
    (tmp_path / "file").touch()
    save_states(tmp_path / folder, [PartState("api")])
