"""What the running stack says of a model's batching, and telling it another. Knows no command and prints nothing."""

from typing import Any

import httpx

from ferry.cli.first_job import running_api_url
from ferry.cli.live_queue import admin_of, resolve_live
from ferry.manifest import Evidence, Manifest
from ferry.profile import BatchLimits, Profile, Tuning, limits_in_force, newest_profile
from ferry.settings import Settings

API_TIMEOUT_S = 2.0


def batching_of(manifest: Manifest, settings: Settings) -> tuple[Profile | None, BatchLimits]:
    """Return a model's profile and limits: from the stack that is up, else from the kept profiles and the manifest."""
    shown = _version_of_api(manifest, settings)
    if shown is None:
        profile = newest_profile(settings.data_dir, manifest.sha256)
        return profile, limits_in_force(manifest, profile)
    profile = Profile.model_validate(shown["profile"]) if shown.get("profile") else None
    return profile, BatchLimits(int(shown["max_rows"]), float(shown["max_wait_ms"]))


def live_notes(manifest: Manifest, settings: Settings) -> list[str]:
    """Return what the stack that is up knows of a model beyond its manifest; nothing where none is up."""
    shown = _version_of_api(manifest, settings)
    if shown is None:
        return []
    notes = []
    if broken := shown.get("broken"):
        others = shown.get("live_workers") or 0
        notes.append(f"now: broken, {others} live workers serve it: {broken}")
    execution = shown.get("execution") or {}
    if execution.get("evidence") == Evidence.OBSERVED:
        notes.append(f"now: whole jobs, each job is one run by itself: {execution.get('reason', '')}")
    if other := shown.get("other_workers"):
        notes.append(
            f"now: {other} live worker{'s' if other > 1 else ''} with other files under this version get no job of it"
        )
    return notes


def live_broken(settings: Settings) -> dict[tuple[str, str], str]:
    """Return why workers of the stack that is up cannot load models, by (name, version); empty where none is up."""
    url = running_api_url(settings)
    if url is None:
        return {}
    try:
        response = httpx.get(f"{url}/v1/models", timeout=API_TIMEOUT_S)
        broken = response.json()["broken"] if response.is_success else []
        return {(each["name"], each["version"]): each["reason"] for each in broken}
    except (httpx.HTTPError, ValueError, KeyError):
        return {}


def tune(ref: str, tuning: Tuning, settings: Settings, *, is_reset: bool = False) -> tuple[str, BatchLimits]:
    """Tune `name` (its latest version) or `name:version` live; return `name:version` and the limits now in force.

    Raises:
        ConfigError: no Redis is named and no stack is up.
        NotFoundError: the queue knows no such model; those it knows are told.
        InvalidInputError: the model cannot run so many rows, or it runs one job at a time.
        QueueUnavailableError: Redis does not answer.
    """
    with admin_of(settings) as admin:
        name, version = resolve_live(admin, ref)
        return f"{name}:{version}", admin.tune(name, version, tuning, is_reset=is_reset)


def _version_of_api(manifest: Manifest, settings: Settings) -> dict[str, Any] | None:
    """Return what GET /v1/models/{name} says of this very file; None where nobody answers or serves another one."""
    url = running_api_url(settings)
    if url is None:
        return None
    try:
        response = httpx.get(f"{url}/v1/models/{manifest.name}", timeout=API_TIMEOUT_S, trust_env=False)
        versions = response.json()["versions"] if response.is_success else []
    except (httpx.HTTPError, ValueError, KeyError):
        return None
    found = (each for each in versions if each["id"] == manifest.version and each["sha256"] == manifest.sha256)
    return next((each for each in found if "max_rows" in each), None)
