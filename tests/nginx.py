"""Debian's nginx with docs/examples/nginx.conf, on free ports of this machine and with a certificate of its own."""

import os
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from ferry.local.ports import PortWish, choose_ports
from tests.processes import ROOT, eventually

EXAMPLE = ROOT / "docs" / "examples" / "nginx.conf"
# Where `make .tools/nginx` unpacks Debian's package.
UNPACKED = ROOT / ".tools" / "nginx" / "usr" / "sbin" / "nginx"
PREFIX = "/ferry"
HOST = "127.0.0.1"


def nginx_program() -> str | None:
    """Return the path of an nginx; None where there is none."""
    found = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    return found or (str(UNPACKED) if UNPACKED.exists() else None)


@dataclass(frozen=True)
class Proxy:
    """A running nginx. url: with the prefix. folder: its own, with what it buffers in `body` and `proxy`."""

    url: str
    folder: Path
    certificate: Path

    @property
    def context(self) -> ssl.SSLContext:
        """Trusts its certificate alone."""
        return ssl.create_default_context(cafile=str(self.certificate))

    def client(self, timeout_s: float = 60) -> httpx.Client:
        return httpx.Client(base_url=self.url, verify=self.context, timeout=timeout_s, trust_env=False)

    def buffered_files(self) -> list[Path]:
        """Return the files in which bodies wait."""
        return [path for kind in ("body", "proxy") for path in (self.folder / kind).rglob("*") if path.is_file()]


@contextmanager
def nginx_before(api_port: int, folder: Path, *, strips: bool = True) -> Iterator[Proxy]:
    """Run the example before an API; `strips`: as it stands, else with the prefix kept."""
    program = nginx_program()
    assert program
    (port,) = choose_ports(PortWish("nginx", HOST))
    folder.mkdir()
    certificate, key = folder / "ferry.pem", folder / "ferry.key"
    _make_certificate(certificate, key)
    changes = {
        "server 127.0.0.1:8000;": f"server {HOST}:{api_port};",
        "listen 443 ssl;": f"listen {HOST}:{port.number} ssl;",
        "/etc/ssl/certs/ferry.pem": str(certificate),
        "/etc/ssl/private/ferry.key": str(key),
    }
    if not strips:
        changes["proxy_pass http://ferry/;"] = "proxy_pass http://ferry;"
    text = EXAMPLE.read_text()
    for written, here in changes.items():
        assert text.count(written) == 1, f"{written} must stand once in {EXAMPLE}"
        text = text.replace(written, here)
    (folder / "example.conf").write_text(text)
    temporary = "".join(f"{kind}_temp_path {folder}/{name};" for kind, name in _KINDS.items())
    user = "user root root;" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(
        f"{user} daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log; events {{}}\n"
        f"http {{ access_log off; {temporary} include {folder}/example.conf; }}\n"
    )
    command = [program, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    proxy = Proxy(f"https://{HOST}:{port.number}{PREFIX}", folder, certificate)
    try:
        with proxy.client() as client:
            eventually(lambda: process.poll() is not None or _answers(client), f"nginx answers, see {folder}/error.log")
        assert process.poll() is None, (folder / "error.log").read_text()
        yield proxy
    finally:
        process.terminate()
        process.wait(timeout=15)


_KINDS = {"client_body": "body", "proxy": "proxy", "fastcgi": "fastcgi", "uwsgi": "uwsgi", "scgi": "scgi"}


def _make_certificate(certificate: Path, key: Path) -> None:
    made = subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-days", "2", "-subj", "/CN=ferry", "-addext", f"subjectAltName=IP:{HOST}", "-keyout", str(key),
            "-out", str(certificate),
        ],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/v2/health/live").status_code == 200
    except httpx.TransportError:
        return False
