"""Every setting of Ferry, read once at a process's edge and passed down. Knows nothing of what uses them."""

import difflib
import ipaddress
import json
import os
import re
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from dotenv import dotenv_values
from pydantic import Field, ValidationError, ValidationInfo, field_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict

from ferry.errors import ConfigError
from ferry.jobs import CLASS_SHARE, DEAD_TTL_S
from ferry.networks import checked_origins, checked_prefix, checked_public_url, networks_of

ENV_PREFIX = "FERRY_"
ENV_FILE = ".env"
# How much alike (difflib's ratio, the prefix counted) makes a key a mistyped setting rather than somebody else's.
MISTYPED_CUTOFF = 0.85
EMBEDDED = ""
NAMESPACE = "ferry"


class Settings(BaseSettings):
    """Frozen settings; each stands in `.env.example` with the same default (a test compares them)."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, env_file=ENV_FILE, env_file_encoding="utf-8", extra="ignore", frozen=True
    )

    # --- where things are
    redis_url: str = Field(default=EMBEDDED, repr=False, description="Redis to use; empty starts an embedded one")
    namespace: str = Field(
        default=NAMESPACE,
        pattern=r"^[a-z0-9._-]{1,32}$",
        description="name of this Ferry on its Redis: its keys, channels and queues begin with it",
    )
    data_dir: Path = Field(default=Path(".ferry"), description="private folder of the embedded Redis and the logs")
    models_dir: Path = Field(default=Path("models"), description="model repository: NAME/VERSION/model.onnx")
    models_url: str = Field(
        default="",
        repr=False,
        description="s3://bucket/prefix (any fsspec URL) that models_dir is kept equal to; empty is none",
    )
    models_sync_s: float = Field(default=30, ge=1, le=86_400, description="models_url is looked at this often")

    # --- API
    api_host: str = Field(default="127.0.0.1", description="address the API listens on")
    api_port: int = Field(default=8000, ge=0, le=65535, description="port of the API")
    api_processes: int = Field(
        default=0, ge=0, le=256, description="API processes that share the port; 0 is one per core, four at most"
    )
    max_body_bytes: int = Field(default=64 * 2**20, ge=1024, description="largest request body")
    max_connections: int = Field(
        default=0, ge=0, le=1_000_000,
        description="open connections per API process; 0 is 10,000, or what the open-files limit allows"
    )  # fmt: skip
    default_wait_s: float = Field(default=60, ge=1, le=60, description="how long `Prefer: wait` and /predict wait")

    api_keys: Literal["auto", "on", "off"] = Field(
        default="auto",
        description="whether requests need an API key; auto: when api_host is beyond this machine, or a proxy is set",
    )
    api_key: str = Field(default="", repr=False, description="API key that `ferry batch` sends to the API")
    default_model: str = Field(default="mnist", description="model of a /predict that names none")
    root_path: str = Field(
        default="", description="path prefix of all routes, such as /ferry; a proxy may strip it or keep it"
    )
    public_url: str = Field(
        default="",
        description="URL at which clients reach the API, prefix included; empty takes each request's Host",
    )
    trusted_proxies: str = Field(
        default="",
        description="addresses and CIDRs of proxies whose X-Forwarded-* or Forwarded are believed, separated by commas",
    )
    cors_origins: str = Field(
        default="", description="origins whose pages may call the API, separated by commas; * is all, empty is none"
    )

    # --- jobs
    job_deadline_s: float = Field(
        default=86_400, gt=0, le=30 * 86_400, description="a job not done by then is canceled"
    )
    result_ttl_s: float = Field(default=3600, gt=0, le=30 * 86_400, description="how long a finished job can be read")
    max_waiting_rows: int = Field(
        default=1_000_000, ge=1, description="rows waiting per model; beyond, submits get 503"
    )
    max_waiting_bytes: int = Field(
        default=2**30, ge=1024, description="input bytes waiting per model; beyond, submits get 503"
    )
    max_rows_in_all: int = Field(
        default=4_000_000, ge=1, description="rows waiting for all models together; beyond, submits get 503"
    )
    max_bytes_in_all: int = Field(
        default=2 * 2**30, ge=1024, description="input bytes waiting for all models together; beyond, submits get 503"
    )
    class_share: float = Field(
        default=CLASS_SHARE, ge=0.001, le=0.5, description="share of the rows that each waiting lower class gets"
    )
    max_attempts: int = Field(default=3, ge=1, le=100, description="claims of one job before it is given up")
    dead_ttl_s: float = Field(
        default=DEAD_TTL_S, gt=0, le=365 * 86_400, description="how long a job that was given up is kept for a replay"
    )

    require_safe_redis: bool = Field(
        default=False,
        description="not ready while Redis may lose waiting jobs: it evicts keys, or keeps nothing over a restart",
    )

    # --- files of bulk batches
    storage_url: str = Field(
        default="",
        repr=False,
        description="where files lie: a path or s3://bucket/prefix; empty is files/ in the data folder",
    )
    storage_options: str = Field(
        default="",
        repr=False,
        description="JSON object of fsspec options of that storage and of models_url, such as endpoint_url",
    )
    max_file_bytes: int = Field(default=2 * 2**30, ge=1024, description="largest file of an upload")
    max_files: int = Field(default=10_000, ge=1, le=10_000_000, description="files kept; beyond, uploads get 503")
    max_batches: int = Field(
        default=1000, ge=1, le=100_000, description="bulk batches under way; beyond, new ones get 503"
    )
    chunk_bytes: int = Field(
        default=32 * 2**20, ge=2**16, le=2**30, description="input bytes of a chunk of a bulk batch, at most about"
    )
    file_ttl_s: float = Field(
        default=30 * 86_400, gt=0, le=365 * 86_400, description="how long a file is kept that does not say it itself"
    )

    # --- workers
    workers: int = Field(default=0, ge=0, le=1024, description="worker processes of `ferry up`; 0 is one per core")
    worker_name: str = Field(
        default="",
        pattern=r"^[A-Za-z0-9_-]{0,40}$",
        description="name of this worker in Flower and logs; empty is `worker`",
    )
    ort_threads: int = Field(
        default=1, ge=0, le=1024,
        description="onnxruntime threads per worker; 0 is one per core that the worker may use",
    )  # fmt: skip
    ort_provider: Literal["cpu", "cuda"] = Field(
        default="cpu", description="what models run on; cuda is an NVIDIA GPU, and a worker that cannot use it stops"
    )
    neighbour_check_share: float = Field(
        default=0.01, ge=0, le=0.5,
        description="part of the models' run time spent on checking whether rows influence each other; 0: never",
    )  # fmt: skip
    lease_s: float = Field(default=5, ge=0.2, le=3600, description="a claim not renewed for this long lapses")
    batch_latency_ms: float = Field(
        default=200, ge=1, le=60_000, description="longest run a measured batch size may take"
    )
    max_run_s: float = Field(default=300, ge=1, le=86_400, description="a batch running longer ends its worker process")

    # --- Flower
    flower_host: str = Field(default="127.0.0.1", description="address Flower listens on")
    flower_port: int = Field(default=5555, ge=0, le=65535, description="port of Flower")
    flower_url: str = Field(default="", description="where users reach Flower; empty is http://flower_host:flower_port")

    # --- logs
    log_level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="least level logged")
    log_format: Literal["console", "json"] = Field(default="console", description="how log lines are written")
    log_jobs: bool = Field(default=False, description="a line per request and per batch, with the ids of their jobs")

    # --- metrics
    metrics_host: str = Field(default="127.0.0.1", description="address a worker's own metrics are served at")
    metrics_port: int = Field(
        default=0, ge=0, le=65535, description="port of a worker's own metrics; 0 is none. The API's are at /metrics"
    )
    alive_file: str = Field(
        default="", description="file a worker touches with each heartbeat that reached Redis; empty is none"
    )

    @field_validator("redis_url")
    @classmethod
    def _redis_scheme(cls, value: str) -> str:
        if value and not value.startswith(("redis://", "rediss://")):
            raise ValueError("must start with redis:// or rediss://, or be empty for the embedded Redis")
        try:
            parts = urlsplit(value)
            is_address = parts.port is None or parts.port > 0
        except ValueError:
            is_address = False
        # redis-py would take another path than a number for database 0.
        if not is_address or not re.fullmatch(r"(/\d*)?", parts.path):
            raise ValueError(
                "is no address (redis://[user:password@]host:port/0); signs such as / # @ in a password are written "
                "%2F %23 %40"
            )
        return value

    @field_validator("root_path")
    @classmethod
    def _prefix(cls, value: str) -> str:
        return checked_prefix(value)

    @field_validator("public_url")
    @classmethod
    def _public_url(cls, value: str, info: ValidationInfo) -> str:
        url, prefix = checked_public_url(value), info.data.get("root_path")
        if url and prefix and urlsplit(url).path != prefix:
            raise ValueError(f"must end with FERRY_ROOT_PATH ({prefix}), or leave FERRY_ROOT_PATH empty")
        return url

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, value: str) -> str:
        try:
            networks_of(value)
        except ValueError as error:
            raise ValueError(f"must be addresses or CIDRs such as 10.0.0.0/8, separated by commas: {error}") from None
        return value

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, value: str) -> str:
        return checked_origins(value)

    @field_validator("storage_options")
    @classmethod
    def _json_object(cls, value: str) -> str:
        try:
            is_object = not value or isinstance(json.loads(value), dict)
        except ValueError:
            is_object = False
        if not is_object:
            raise ValueError('must be a JSON object such as {"endpoint_url": "https://..."}, or empty')
        return value

    @property
    def prefix(self) -> str:
        """Path prefix of all routes, without a slash at its end; empty is none."""
        return self.root_path or urlsplit(self.public_url).path

    @property
    def needs_keys(self) -> bool:
        """Whether requests need an API key; under `auto` where others than this machine's users can reach the API."""
        if self.api_keys != "auto":
            return self.api_keys == "on"
        if self.trusted_proxies or self.public_url or self.root_path:
            return True  # a proxy passes the network's requests on to this machine's own address
        try:
            return not ipaddress.ip_address(self.api_host).is_loopback
        except ValueError:
            return self.api_host != "localhost"

    def require_redis_url(self) -> str:
        """Return the URL of the Redis to use.

        Raises:
            ConfigError: there is none; only `ferry up` starts one by itself.
        """
        if self.redis_url == EMBEDDED:
            raise ConfigError("FERRY_REDIS_URL is not set; name a Redis, or let `ferry up` start everything")
        return self.redis_url


def storage_options_of(settings: Settings) -> dict[str, Any]:
    """Return the options of fsspec's file systems."""
    options: dict[str, Any] = json.loads(settings.storage_options or "{}")
    return options


def load_settings() -> Settings:
    """Read environment and `.env`.

    Raises:
        ConfigError: on one line, naming every bad key, its value and the rule, or every key that looks mistyped.
    """
    try:
        mistyped = _mistyped()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{ENV_FILE} cannot be read: {getattr(error, 'strerror', None) or 'it is no UTF-8'}"
        ) from None
    if mistyped:
        raise ConfigError("unknown settings: " + "; ".join(mistyped))
    try:
        return Settings()
    except ValidationError as error:
        raise ConfigError("bad settings: " + "; ".join(_line(fault) for fault in error.errors())) from None


def _mistyped() -> list[str]:
    """Return a line per key that no setting has: all such of `.env`, and those of the environment that come close.

    Others in the environment may be nobody's mistake: Kubernetes sets FERRY_PORT for a service called ferry.
    """
    names = [ENV_PREFIX + name.upper() for name in Settings.model_fields]
    in_file = {key.upper() for key in dotenv_values(ENV_FILE) if key.upper().startswith(ENV_PREFIX)}
    in_environment = {key for key in os.environ if key.startswith(ENV_PREFIX)}
    lines = []
    for key in sorted((in_file | in_environment) - set(names)):
        close = difflib.get_close_matches(key, names, n=1, cutoff=MISTYPED_CUTOFF)
        if close or key in in_file:
            lines.append(f"{key}" + (f" (did you mean {close[0]}?)" if close else " (see .env.example)"))
    return lines


def _line(fault: ErrorDetails) -> str:
    name = "_".join(str(part) for part in fault["loc"])
    # A URL or options may hold a password, which must not reach a log.
    shown = "..." if name.endswith(("url", "options", "api_key")) else repr(fault["input"])
    return f"{ENV_PREFIX}{name.upper()}={shown}: {fault['msg']}"
