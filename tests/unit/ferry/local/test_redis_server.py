from pathlib import Path

from ferry.local.redis_server import RedisServer, render_config


def config(folder: str = "/data/redis", password: str = "secret") -> list[str]:
    return render_config(port=7000, password=password, folder=Path(folder), log=Path("/data/redis.log")).splitlines()


def test_config_listens_on_the_loopback_only() -> None:
    assert "bind 127.0.0.1" in config()
    assert "port 7000" in config()


def test_config_asks_for_the_password() -> None:
    assert 'requirepass "secret"' in config()


def test_config_keeps_every_write_and_throws_nothing_away() -> None:
    assert {"appendonly yes", "appendfsync everysec", 'save ""', "maxmemory-policy noeviction"} <= set(config())


def test_config_names_folder_and_log() -> None:
    assert 'dir "/data/redis"' in config()
    assert 'logfile "/data/redis.log"' in config()


def test_config_when_the_folder_has_blanks_and_quotes_escapes_them() -> None:
    assert 'dir "/my \\"data\\"/a\\\\b"' in config('/my "data"/a\\b')


def test_config_when_a_text_has_line_breaks_stays_one_setting_per_line() -> None:
    lines = config("/data\nport 1")
    assert 'dir "/data\\nport 1"' in lines
    assert "port 1" not in lines


def test_server_when_never_started_has_no_status_and_stops_quietly(tmp_path: Path) -> None:
    server = RedisServer(tmp_path, tmp_path / "redis.log")
    assert server.exit_status() is None
    server.stop()
