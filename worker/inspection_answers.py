"""A worker's answers to who wants a staged file inspected: owns what is pushed to the reply list.

The inspection runs in a process of its own, so a worker never loads the `onnx` package; nor does this module.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ferry.errors import InvalidInputError
from ferry.inspection import REPLY_TTL_S, STARTED
from ferry.inspection_process import TrialOptions, refusal, run_inspection

if TYPE_CHECKING:
    import redis

    from ferry.queue.connection import ThreadClient


def answer(
    staged: str,
    name: str,
    version: str,
    labels: Sequence[str],
    options: dict[str, Any],
    reply_key: str,
    *,
    models_dir: Path,
    client: "ThreadClient",
) -> None:
    """Inspect a file staged in the model repository for someone without onnxruntime.

    `options` are `TrialOptions.to_wire`'s.

    Effects: pushes STARTED, then the reply, to the list `reply_key`, which expires after REPLY_TTL_S.

    Raises:
        InvalidInputError: when `reply_key` is none; there is nobody to tell.
    """
    if not reply_key.startswith(client.keys.reply):
        raise InvalidInputError(f"reply key {reply_key!r} does not start with {client.keys.reply}")
    _push(client.redis, reply_key, STARTED)
    root = models_dir.resolve()
    path = (root / staged).resolve()
    trial = TrialOptions.from_wire(options, root)
    outside = [each for each in (path, trial.example) if each and not each.resolve().is_relative_to(root)]
    if outside:
        reply = refusal(f"{str(outside[0])!r} lies outside the model repository", InvalidInputError.code)
    else:
        reply = run_inspection(path, name=name, version=version, labels=labels, options=trial)
    _push(client.redis, reply_key, reply)


def _push(redis: "redis.Redis", key: str, reply: object) -> None:
    with redis.pipeline(transaction=True) as pipeline:
        pipeline.rpush(key, json.dumps(reply))
        pipeline.expire(key, REPLY_TTL_S)
        pipeline.execute()
