import pytest

from ferry.file_names import MAX_FILE_NAME_CHARS, why_not_a_file_name
from ferry.manifest import RESERVED_NAMES


@pytest.mark.parametrize("name", ["model.onnx.data", "model.onnx_data", "parts/w_0", "a", "deep/er/w.bin", "x/samples"])
def test_why_not_a_file_name_when_it_lies_in_the_folder_then_it_may(name: str) -> None:
    assert why_not_a_file_name(name, reserved=RESERVED_NAMES) == ""


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("/etc/passwd", "absolute"),
        ("C:\\weights.bin", "absolute"),
        ("c:/weights.bin", "absolute"),
        ("../w.bin", "leaves"),
        ("a/../../w.bin", "leaves"),
        ("..", "leaves"),
        ("", "every storage"),
        (".hidden", "every storage"),
        ("a/.hidden", "every storage"),
        ("a//b", "every storage"),
        ("a/", "every storage"),
        ("a\\b", "every storage"),
        ("a b", "every storage"),
        ("a\n", "every storage"),
        ("ü", "every storage"),
        ("*/_ORT_MEM_ADDR_/*", "every storage"),
        ("a" * (MAX_FILE_NAME_CHARS + 1), "every storage"),
        ("model.onnx", "Ferry uses itself"),
        ("Manifest.JSON", "Ferry uses itself"),
        ("samples", "Ferry uses itself"),
        ("samples/w.bin", "Ferry uses itself"),
    ],
)
def test_why_not_a_file_name_when_it_is_dangerous_then_it_says_why(name: str, words: str) -> None:
    assert words in why_not_a_file_name(name, reserved=RESERVED_NAMES)
