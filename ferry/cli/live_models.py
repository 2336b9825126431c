"""What the running stack says of a model's batching, and telling it another. Knows no command and prints nothing."""

from contextlib import closing
from typing import Any

import httpx

from ferry.cli.first_job import running_api_url
from ferry.errors import ConfigError, NotFoundError
from ferry.local.data_dir import read_run_info
from ferry.manifest import Manifest
from ferry.profile import BatchLimits, Profile, Tuning, limits_in_force, newest_profile
from ferry.queue.admin import Admin
from ferry.queue.connection import connect
from ferry.settings import Settings

API_TIMEOUT_S = 2.0


def batching_of(manifest: Manifest, settings: Settings) -> tuple[Profile | None, BatchLimits]:
    """Return a model's profile and limits: from the stack that is up, else from the kept profiles and the manifest."""
    shown = _version_of_api(manifest, settings)
    if shown is None:
        profile = newest_profile(settings.data_dir, manifest.sha256)
        return profile, limits_in_force(manifest.batching, profile)
    profile = Profile.model_validate(shown["profile"]) if shown.get("profile") else None
    return profile, BatchLimits(int(shown["max_rows"]), float(shown["max_wait_ms"]))


def tune(ref: str, tuning: Tuning, settings: Settings, *, is_reset: bool = False) -> tuple[str, BatchLimits]:
    """Tune `name` (its latest version) or `name:version` live; return `name:version` and the limits now in force.

    Raises:
        ConfigError: no Redis is named and no stack is up.
        NotFoundError: the queue knows no such model; those it knows are told.
        InvalidInputError: the model cannot run so many rows.
        QueueUnavailableError: Redis does not answer.
    """
    name, _, version = ref.partition(":")
    with closing(connect(_redis_url(settings))) as redis:
        admin = Admin(redis)
        known = admin.models()
        versions = [each for model, each in known if model == name and version in ("", each)]
        if not versions:
            there_are = ", ".join(f"{model}:{each}" for model, each in known) or "none"
            raise NotFoundError(f"the queue knows no model {ref!r}; it knows {there_are}")
        return f"{name}:{versions[-1]}", admin.tune(name, versions[-1], tuning, is_reset=is_reset)


def _redis_url(settings: Settings) -> str:
    if settings.redis_url:
        return settings.redis_url
    try:
        running = read_run_info(settings.data_dir)
    except (OSError, ValueError, KeyError, TypeError):
        running = None
    if running is None:
        raise ConfigError("nothing to tune: no stack is up in FERRY_DATA_DIR, and FERRY_REDIS_URL is not set")
    return running.redis_url


def _version_of_api(manifest: Manifest, settings: Settings) -> dict[str, Any] | None:
    """Return what GET /v1/models/{name} says of this very file; None where nobody answers or serves another one."""
    url = running_api_url(settings)
    if url is None:
        return None
    try:
        response = httpx.get(f"{url}/v1/models/{manifest.name}", timeout=API_TIMEOUT_S)
        versions = response.json()["versions"] if response.is_success else []
    except (httpx.HTTPError, ValueError, KeyError):
        return None
    found = (each for each in versions if each["id"] == manifest.version and each["sha256"] == manifest.sha256)
    return next((each for each in found if "max_rows" in each), None)
