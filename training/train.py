"""`python -m training.train --network mlp --data mnist.npz` trains an MNIST network, checks it and publishes it.

Owns the command line's edge: progress, the table of figures, errors as one line, exit codes (0 published; 1 a gate
refused the model; 2 the options or the data are wrong).
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from ferry.errors import FerryError, ModelRefusedError
from ferry.manifest import Manifest
from training.data import Dataset, load_dataset
from training.options import Options, parse_options
from training.publish import choose_target
from training.quiet import import_quietly

EXIT_REFUSED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells have it


def main(argv: Sequence[str] | None = None) -> int:
    """Run one training from the command line and return the exit code."""
    try:
        options = parse_options(argv)
        # Both before TensorFlow and the training: a mistake should cost no minutes.
        target = choose_target(
            options.models_dir, options.name, version=options.version, is_replacing=options.is_replacing
        )
        data = load_dataset(options.data)
        print_table(_run(options, data, target=target), options, target=target)
    except ModelRefusedError as error:
        return _fail(f"refused, nothing was published: {error.detail}", EXIT_REFUSED)
    except (FerryError, OSError) as error:
        return _fail(f"error: {error}", EXIT_USAGE)
    except KeyboardInterrupt:
        return _fail("stopped; nothing was published", EXIT_INTERRUPTED)
    return 0


def _run(options: Options, data: Dataset, *, target: Path) -> Manifest:
    pipeline = import_quietly("training.pipeline")
    print(f"training {options.network} on {len(data.train.y):,} digits from {data.source}", flush=True)
    manifest: Manifest = pipeline.run(options, data, target=target)
    return manifest


def _fail(line: str, exit_code: int) -> int:
    print(" ".join(line.split()), file=sys.stderr)  # onnx's and onnxruntime's errors have several lines
    return exit_code


def print_table(manifest: Manifest, options: Options, *, target: Path) -> None:
    """Print what was published and how good it is."""
    figures = manifest.metrics
    parity, by_batch = figures["parity_max_abs_diff"], figures["batch_max_abs_diff"]
    rows = {
        "model": f"{manifest.ref} ({options.network}, {figures['parameters']:,.0f} parameters)",
        "test": f"accuracy {figures['test_accuracy']:.4f} on {figures['test_rows']:,.0f} digits",
        "parity": f"onnxruntime agrees with Keras in every class and to {parity:.1e}",
        "batches": f"of any size agree to {by_batch:.1e}",
        "training": f"{figures['epochs']:.0f} epochs in {figures['train_s']:.1f} s, seed {figures['seed']:.0f}",
        "workdir": str(options.workdir),
        "published": str(target),
    }
    for title, text in rows.items():
        print(f"  {title:<10} {text}")


if __name__ == "__main__":
    sys.exit(main())
