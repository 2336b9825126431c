"""A first job for a model: a shell line to paste, and the address it goes to. Sends nothing."""

import json
import math
import shlex
from collections.abc import Sequence

from ferry.json_forms import filler_of
from ferry.local.data_dir import read_run_info
from ferry.manifest import Manifest, TensorSpec
from ferry.settings import Settings

# Free axes of an example, other than the batch axis; the first size that the inspection tries.
EXAMPLE_SIZE = 4
# Above, an example is made by a one-line program: thousands of zeros cannot be read or pasted.
MAX_SPELLED_OUT = 64


def first_job(manifest: Manifest, *, api_url: str) -> str:
    """Return a shell line that sends a job of zeros (or of "text") to the API and waits for the result.

    It is one row; where the model has no rows, it is one tensor for each input.
    """
    # Quoted, for an address of IPv6 has brackets.
    url = shlex.quote(f"{api_url}/v1/predictions")
    curl = f"curl -s {url} -H 'Content-Type: application/json' -H 'Prefer: wait' -d"
    shapes = {spec.name: _shape(spec) for spec in manifest.inputs}
    if sum(math.prod(shape) for shape in shapes.values()) <= MAX_SPELLED_OUT:
        rows = {spec.name: _filled(spec, shapes[spec.name]) for spec in manifest.inputs}
        return f"{curl} {shlex.quote(json.dumps({'version': manifest.ref, 'input': rows}))}"
    entries = ", ".join(f"{_quoted(spec.name)}: {_recipe(spec, shapes[spec.name])}" for spec in manifest.inputs)
    program = f'import json; print(json.dumps({{"version": "{manifest.ref}", "input": {{{entries}}}}}))'
    return f"python3 -c {shlex.quote(program)} | {curl} @-"


def running_api_url(settings: Settings) -> str | None:
    """Return where the API of the stack that is up is reached; its port may be another than the one wished for."""
    try:
        running = read_run_info(settings.data_dir)
    except (OSError, ValueError, KeyError, TypeError):
        # Somebody else's stack, or another release's: an example must not fail the command that prints it.
        return None
    return running.api_url if running else None


def expected_api_url(settings: Settings) -> str:
    """Return where the API of a stack started with these settings is reached, as long as the port is free."""
    return f"http://127.0.0.1:{settings.api_port}"


def _shape(spec: TensorSpec) -> list[int]:
    if spec.has_any_rank:
        return [EXAMPLE_SIZE]
    sizes = [EXAMPLE_SIZE if size is None else size for size in spec.shape]
    if spec.batch_axis is not None and spec.shape[spec.batch_axis] is None:
        sizes[spec.batch_axis] = 1
    return sizes


def _filled(spec: TensorSpec, shape: Sequence[int]) -> object:
    if not shape:
        return filler_of(spec)
    return [_filled(spec, shape[1:]) for _ in range(shape[0])]


def _recipe(spec: TensorSpec, shape: Sequence[int]) -> str:
    """Return the Python expression of `_filled`: [[0.0] * 784] * 1, say."""
    text = _quoted("text") if spec.is_string else repr(filler_of(spec))
    for size in reversed(shape):
        text = f"[{text}] * {size}"
    return text


def _quoted(text: str) -> str:
    # In double quotes, since the program stands in single ones.
    return json.dumps(text, ensure_ascii=False)
