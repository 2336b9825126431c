"""The command line of an inspection; owns what it prints.

    python -m worker.inspection FILE --name N --version V [--labels FILE] [--set NAME=VALUE]... [--example FILE.npz]
        [--rows-independent]

prints one JSON object as its last line and exits with 0: {"manifest": ...}, {"error": {"code", "detail"}}, or
{"files": {name: tensor}} when these files, which the model names, must be put beside it first.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from ferry.errors import FerryError
from ferry.inspection_process import Reply, TrialOptions, refusal
from worker.inspection.external_data import FilesWantedError
from worker.inspection.labels import read_labels
from worker.inspection.manifests import inspect


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the reply for the file named on the command line."""
    parser = argparse.ArgumentParser(prog="python -m worker.inspection", description="Inspect an ONNX file.")
    parser.add_argument("file", type=Path)
    parser.add_argument("--name", required=True)
    parser.add_argument("--version", required=True)
    parser.add_argument("--labels", default="", help="file with one label a line; - is standard input")
    parser.add_argument("--set", action="append", default=[], help="NAME=VALUE: the value of an input in every run")
    parser.add_argument("--example", type=Path, help="file of numpy.savez with real inputs")
    parser.add_argument("--rows-independent", action="store_true", help="rows may share a run, whatever is found")
    options = parser.parse_args(arguments)
    trial = TrialOptions(tuple(options.set), options.example, options.rows_independent)
    try:
        manifest = inspect(options.file, options.name, options.version, read_labels(options.labels), trial)
        reply: Reply = {"manifest": manifest.model_dump(mode="json")}
    except FilesWantedError as error:
        reply = {"files": error.wanted}
    except FerryError as error:
        reply = refusal(error.detail, error.code)
    except OSError as error:
        reply = refusal(f"{error.filename}: {error.strerror}")
    except MemoryError:
        reply = refusal("it needs more memory to load and run than this machine has")
    sys.stdout.write(json.dumps(reply) + "\n")


if __name__ == "__main__":
    main()
