"""The command line of training: its options, their defaults and limits. Knows nothing of TensorFlow."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from ferry.errors import ConfigError
from ferry.manifest import NAME_PATTERN, is_name, is_version

# Network -> the name its model is published under unless --name says otherwise.
DEFAULT_NAMES = {"mlp": "mnist", "cnn": "mnist-cnn"}
DEFAULT_EPOCHS = 5
DEFAULT_BATCH_SIZE = 32
DEFAULT_SEED = 1
# numpy's generator, seeded along with Keras', takes 32 bits.
SEED_MAX = 2**32 - 1


@dataclass(frozen=True, slots=True)
class Options:
    """What the user asked for, checked. `version` None means the next free one."""

    network: str
    data: Path | None
    epochs: int
    batch_size: int
    seed: int
    models_dir: Path
    name: str
    version: str | None
    workdir: Path
    n_samples: int
    is_replacing: bool


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message}; see --help")


def parse_options(argv: Sequence[str] | None) -> Options:
    """Read the command line.

    Raises:
        ConfigError: for the first option that is unknown or out of range.
        SystemExit: after --help.
    """
    args = _parser().parse_args(argv)
    name = args.name or DEFAULT_NAMES[args.network]
    if not is_name(name):
        raise ConfigError(f"--name {name!r} does not match {NAME_PATTERN}; choose another")
    if args.version is not None and not is_version(args.version):
        raise ConfigError(f"--version {args.version!r} is not a positive integer; choose another or leave it out")
    for option, value, least in (
        ("epochs", args.epochs, 1),
        ("batch-size", args.batch_size, 1),
        ("samples", args.samples, 0),
    ):
        if value < least:
            raise ConfigError(f"--{option} {value} is too small; at least {least}")
    if not 0 <= args.seed <= SEED_MAX:
        raise ConfigError(f"--seed {args.seed} is not in 0..{SEED_MAX}; choose another")
    return Options(
        network=args.network,
        data=args.data,
        epochs=args.epochs,
        batch_size=args.batch_size,
        seed=args.seed,
        models_dir=args.models_dir,
        name=name,
        version=args.version,
        workdir=args.workdir or Path(".ferry/training") / name,
        n_samples=args.samples,
        is_replacing=args.force,
    )


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m training.train", description="Train an MNIST network, check it and publish it.")
    add = parser.add_argument
    add("--network", choices=sorted(DEFAULT_NAMES), default="mlp", help="mlp (default) or cnn")
    add(
        "--data",
        type=Path,
        metavar="PATH",
        help="npz in the layout of Keras' mnist.npz; without it Keras downloads MNIST",
    )
    add("--epochs", type=int, default=DEFAULT_EPOCHS, help="passes over the training rows (default: %(default)s)")
    add("--batch-size", type=int, default=DEFAULT_BATCH_SIZE, help="rows a training step (default: %(default)s)")
    add("--seed", type=int, default=DEFAULT_SEED, help="of weights, shuffling and dropout (default: %(default)s)")
    add("--models-dir", type=Path, default=Path("models"), help="model repository (default: %(default)s)")
    add("--name", help=f"model name (default: {', '.join(f'{k}: {v}' for k, v in DEFAULT_NAMES.items())})")
    add("--version", help="model version, a positive integer (default: the next free one)")
    add("--force", action="store_true", help="replace the version where it exists")
    add("--samples", type=int, default=0, metavar="N", help="publish N test digits beside the model (default: none)")
    add("--workdir", type=Path, help="for SavedModel and training history (default: .ferry/training/NAME)")
    return parser
