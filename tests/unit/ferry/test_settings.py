from pathlib import Path

import pytest
from dotenv import dotenv_values
from pydantic import ValidationError

from ferry.errors import ConfigError
from ferry.settings import ENV_PREFIX, Settings, load_settings

EXAMPLE = Path(__file__).parents[3] / ".env.example"
# By setting: values out of its range or of the wrong kind.
BAD = {
    "redis_url": ["http://host:6379", "host:6379", "unix:///tmp/redis.sock"],
    "api_port": ["-1", "65536", "http"],
    "max_body_bytes": ["1023", "64M"],
    "default_wait_s": ["0.9", "61"],
    "job_deadline_s": ["0", "2592001"],
    "result_ttl_s": ["0", "2592001"],
    "max_waiting_rows": ["0"],
    "max_waiting_bytes": ["1023"],
    "max_attempts": ["0", "101"],
    "storage_options": ["[]", "{", "endpoint"],
    "max_file_bytes": ["1023"],
    "max_files": ["0", "10000001"],
    "file_ttl_s": ["0", "31536001"],
    "workers": ["-1", "1025"],
    "worker_name": ["a b", "a@b", "x" * 41],
    "ort_threads": ["-1", "0.5", "1025"],
    "ort_provider": ["gpu", "CUDA", ""],
    "lease_s": ["0.1", "3601"],
    "max_run_s": ["0", "86401"],
    "flower_port": ["-1", "65536"],
    "log_level": ["loud", "INFO "],
    "log_format": ["xml"],
}

# By setting: the least and the greatest value it takes.
ENDS = {
    "api_port": [0, 65535],
    "max_body_bytes": [1024],
    "default_wait_s": [1, 60],
    "job_deadline_s": [0.001, 2_592_000],
    "result_ttl_s": [0.001, 2_592_000],
    "max_waiting_rows": [1],
    "max_waiting_bytes": [1024],
    "max_attempts": [1, 100],
    "storage_options": ["", "{}", '{"endpoint_url": "http://host"}'],
    "max_file_bytes": [1024],
    "max_files": [1, 10_000_000],
    "file_ttl_s": [0.001, 31_536_000],
    "workers": [0, 1024],
    "worker_name": ["x", "x" * 40, "gpu-1_A"],
    "ort_threads": [0, 1024],
    "ort_provider": ["cpu", "cuda"],
    "lease_s": [0.2, 3600],
    "max_run_s": [1, 86_400],
    "flower_port": [0, 65535],
    "log_level": ["debug", "info", "warning", "error"],
    "log_format": ["console", "json"],
}


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in Settings.model_fields:
        monkeypatch.delenv(ENV_PREFIX + name.upper(), raising=False)


def fault_of_loading() -> str:
    with pytest.raises(ConfigError) as caught:
        load_settings()
    return caught.value.detail


def test_load_settings_when_nothing_is_set_then_the_defaults() -> None:
    settings = load_settings()
    assert settings == Settings()
    assert (settings.redis_url, settings.api_host, settings.flower_host) == ("", "127.0.0.1", "127.0.0.1")


@pytest.mark.parametrize(
    ("given", "needs_keys"),
    [
        ({}, False),
        ({"api_host": "localhost"}, False),
        ({"api_host": "::1"}, False),
        ({"api_host": "0.0.0.0"}, True),
        ({"trusted_proxies": "127.0.0.1"}, True),
        ({"public_url": "https://ferry.example.org"}, True),
        ({"root_path": "/ferry"}, True),
        ({"trusted_proxies": "127.0.0.1", "api_keys": "off"}, False),
        ({"api_keys": "on"}, True),
    ],
)
def test_needs_keys_when_others_than_this_machine_can_reach_the_api_then_by_default(
    given: dict[str, str], needs_keys: bool
) -> None:
    assert Settings(_env_file=None, **given).needs_keys is needs_keys


def test_load_settings_when_set_in_the_environment_then_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FERRY_API_PORT", "9000")
    monkeypatch.setenv("FERRY_MODELS_DIR", "/srv/models")
    settings = load_settings()
    assert (settings.api_port, settings.models_dir) == (9000, Path("/srv/models"))


def test_load_settings_when_in_both_then_the_environment_wins_over_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("FERRY_API_PORT=9001\nFERRY_WORKERS=3\nOTHER=1\n")
    monkeypatch.setenv("FERRY_API_PORT", "9002")
    settings = load_settings()
    assert (settings.api_port, settings.workers) == (9002, 3)


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in BAD.items() for value in values])
def test_load_settings_when_one_is_bad_then_it_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(ENV_PREFIX + name.upper(), value)
    line = fault_of_loading()
    assert line.startswith(f"bad settings: FERRY_{name.upper()}=")
    assert "\n" not in line
    assert name.endswith(("url", "options")) or repr(value) in line


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in ENDS.items() for value in values])
def test_load_settings_when_one_is_at_the_end_of_its_range_then_accepted(
    monkeypatch: pytest.MonkeyPatch, name: str, value: object
) -> None:
    monkeypatch.setenv(ENV_PREFIX + name.upper(), str(value))
    assert getattr(load_settings(), name) == value


def test_load_settings_when_several_are_bad_then_each_is_named_with_its_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, values in BAD.items():
        monkeypatch.setenv(ENV_PREFIX + name.upper(), values[0])
    detail = fault_of_loading()
    assert [f"FERRY_{name.upper()}=" in detail for name in BAD] == [True] * len(BAD)
    assert "FERRY_API_PORT='-1': Input should be greater than or equal to 0" in detail


def test_load_settings_when_a_url_is_bad_then_its_password_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FERRY_REDIS_URL", "http://user:hunter2@host:6379/0")
    monkeypatch.setenv("FERRY_API_PORT", "none")
    with pytest.raises(ConfigError) as caught:
        load_settings()
    error = caught.value
    assert "FERRY_REDIS_URL=...: Value error, must start with redis:// or rediss://" in error.detail
    assert "hunter2" not in repr((error.detail, error.args, error.__cause__))
    assert error.__suppress_context__


@pytest.mark.parametrize("url", ["", "redis://host", "rediss://user:pass@host:6380/1"])
def test_load_settings_when_the_url_has_a_redis_scheme_then_accepted(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("FERRY_REDIS_URL", url)
    assert load_settings().redis_url == url


def test_load_settings_when_a_key_of_the_environment_looks_mistyped_then_the_right_one_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FERRY_API_PROT", "9000")
    assert fault_of_loading() == "unknown settings: FERRY_API_PROT (did you mean FERRY_API_PORT?)"


def test_load_settings_when_the_file_has_an_unknown_key_then_it_is_named_without_its_value(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("FERRY_SOMETHING_ELSE=secret\n")
    assert fault_of_loading() == "unknown settings: FERRY_SOMETHING_ELSE (see .env.example)"


def test_load_settings_when_the_environment_has_a_foreign_key_then_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FERRY_PORT", "tcp://10.0.0.1:80")  # Kubernetes, for a service called ferry
    load_settings()


def test_require_redis_url_when_there_is_one_then_returned() -> None:
    assert Settings(redis_url="redis://host").require_redis_url() == "redis://host"


def test_require_redis_url_when_there_is_none_then_the_key_is_named() -> None:
    with pytest.raises(ConfigError, match="FERRY_REDIS_URL"):
        Settings().require_redis_url()


def test_settings_when_changed_then_refused() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().api_port = 1


def test_settings_when_listed_then_each_says_what_it_is() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


def test_settings_when_listed_then_the_example_has_each_with_its_description_and_default() -> None:
    lines = EXAMPLE.read_text("utf-8").splitlines()
    shown = {line[1:]: lines[number - 1] for number, line in enumerate(lines) if line.startswith("#FERRY_")}
    expected = {}
    for name, field in Settings.model_fields.items():
        default = f"{field.default:g}" if isinstance(field.default, float) else str(field.default)
        default = default.lower() if isinstance(field.default, bool) else default
        expected[f"FERRY_{name.upper()}={default}"] = f"# {field.description}"
    assert shown == expected


def test_example_when_copied_as_it_is_then_the_defaults() -> None:
    assert dotenv_values(EXAMPLE) == {}


def test_settings_when_shown_then_without_passwords() -> None:
    secrets = {
        "redis_url": "redis://:hunter2@host", "storage_url": "s3://hunter2@b", "models_url": "s3://hunter2@b",
        "storage_options": '{"secret": "hunter2"}', "api_key": "hunter2",
    }  # fmt: skip
    shown = Settings(_env_file=None, **secrets)
    assert "hunter2" not in f"{shown} {shown!r}"


@pytest.mark.parametrize(
    "url",
    [
        "redis://host:port",
        "redis://:pa#ss@host",
        "redis://:pa/ss@host",
        "redis://host/abc",
        "redis://[::1",
        "redis://host:0",
    ],
)
def test_load_settings_when_the_url_is_no_address_then_said_without_the_password(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("FERRY_REDIS_URL", url)
    detail = fault_of_loading()
    assert detail.startswith("bad settings: FERRY_REDIS_URL=...: Value error, is no address")
    assert "ss@" not in detail


def test_load_settings_when_the_file_cannot_be_read_then_said(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"FERRY_API_PORT=\xff\xfe\n")
    assert fault_of_loading() == ".env cannot be read: it is no UTF-8"
