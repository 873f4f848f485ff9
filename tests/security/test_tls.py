"""A server that only claims to be B2: its certificate is looked at before it hears anything."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tests.mounted.harness import REPOSITORY

heard: list[str] = []


class Listener(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        heard.append(f"{self.requestline} {self.headers}")
        self.send_error(400)

    do_POST = do_HEAD = do_GET

    def log_message(self, format: str, *words: object) -> None:
        """Not on the terminal."""


class Server(HTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that hang up are what is wanted."""


@pytest.fixture
def impostor(tmp_path: Path) -> Iterator[str]:
    """Its URL. The certificate is one that it made for itself."""
    made = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-keyout",
        "key.pem",
        "-out",
        "cert.pem",
    ]
    named = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*made, *named], cwd=tmp_path, check=True, capture_output=True, timeout=60)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    with Server(("127.0.0.1", 0), Listener) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"https://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def attempt(impostor: str, home: Path, **more: str) -> str:
    """What doctor and a mount say when B2 is there."""
    surroundings = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(REPOSITORY),
        "HOME": str(home),
        "B2_ENVIRONMENT": impostor,
        "B2_APPLICATION_KEY_ID": "id",
        "B2_APPLICATION_KEY": "K00hush",
        **more,
    }
    (home / "mnt").mkdir(exist_ok=True)
    said = ""
    for words in (["doctor"], ["mount", "bucket", str(home / "mnt")]):
        command = [sys.executable, "-m", "b2mount", *words, "--retry-for=1"]
        done = subprocess.run(
            command, env=surroundings, capture_output=True, text=True, timeout=100, check=False
        )
        assert done.returncode != 0
        said += done.stdout + done.stderr
    return said


@pytest.mark.kernel
def test_a_server_that_nobody_vouches_for_hears_nothing(impostor: str, tmp_path: Path) -> None:
    heard.clear()
    assert attempt(impostor, tmp_path).count("the server's TLS certificate is not to be trusted") == 2
    assert heard == []
    trusted = str(tmp_path / "cert.pem")
    attempt(impostor, tmp_path, SSL_CERT_FILE=trusted, REQUESTS_CA_BUNDLE=trusted)
    assert heard  # it would have
