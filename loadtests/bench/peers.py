"""Who is measured. A further peer is one small class with a name and a `start`, and its row in PEERS."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import httpx

from loadtests.bench import proc
from loadtests.bench.policy import PEPPER, whole_policy
from loadtests.collector import collecting
from loadtests.nursery import die_with_parent
from loadtests.stack import READY_SECONDS, ROOT, StackFault, end, free_port

POLL_SECONDS = 0.005
LOG_LINES = 3
NGINX_CONF = """\
# Plain reverse proxy: one worker, kept connections on both sides, nothing written to disk.
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
{user}
events {{ worker_connections 1024; }}
http {{
  access_log off;
  tcp_nodelay on;
  keepalive_requests 1000000000;
  client_max_body_size 20m;
  client_body_buffer_size 1m;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  upstream bench {{ server 127.0.0.1:{upstream}; keepalive 64; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://bench;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
    }}
  }}
}}
"""
"""`proxy_buffering off`: an event of a stream must leave when it comes."""


class MissingProgram(Exception):
    """A peer's program is not installed; the message says what to install."""


@dataclass(frozen=True, slots=True)
class Running:
    """A started peer: where it listens, its processes by kind, seconds from its start until it was ready."""

    port: int
    process: subprocess.Popen[bytes] | None
    startup: float = 0.0
    beside: contextlib.ExitStack | None = None
    """What it needs as long as it runs."""

    def pids(self) -> tuple[list[int], list[int]]:
        """(those that serve, those beside them: its store, and who writes its ledger)."""
        if self.process is None:
            return [], []
        own, stores = proc.split_store(proc.tree(self.process.pid))
        serving, writers = proc.split_writer(own)
        return serving, stores + writers

    def stop(self) -> None:
        if self.process is not None:
            end(self.process)
        if self.beside is not None:
            self.beside.close()


class Peer(Protocol):
    @property
    def name(self) -> str: ...

    def start(self, folder: Path, upstream: int) -> Running:
        """Starts it in front of port `upstream`, with its files in `folder`. Raises StackFault or MissingProgram."""
        ...


class Direct:
    """No proxy at all: what client and upstream take by themselves."""

    name = "direct"

    def start(self, folder: Path, upstream: int) -> Running:
        return Running(upstream, None)


class Nginx:
    name = "nginx"

    def start(self, folder: Path, upstream: int) -> Running:
        program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        if program is None:
            raise MissingProgram("nginx is not installed: apt-get install nginx")
        port, conf = free_port(), folder / "nginx.conf"
        conf.write_text(nginx_conf(folder, port, upstream, root=os.geteuid() == 0))
        return launch([program, "-p", str(folder), "-c", str(conf)], folder, port)


@dataclass(frozen=True, slots=True)
class Gateway:
    """Everything on: key with limits and budgets, policy with SLO and spill, lease, receipt, ledger, metrics; the
    embedded store and the ledger's writer are its children. Not `paid`: no keys, limits, budgets or ledger. `traced`:
    one request in a hundred is, and figures and spans go to a collector here. `silent`: it says nothing of itself."""

    name: str = "gateway"
    paid: bool = True
    traced: bool = False
    silent: bool = False

    def start(self, folder: Path, upstream: int) -> Running:
        whole_policy(folder / "policy", upstream, paid=self.paid)
        port, beside = free_port(), contextlib.ExitStack()
        collector = beside.enter_context(collecting(most=1)).url if self.traced else None
        env = {
            "GATEWAY_POLICIES": str(folder / "policy"),
            "GATEWAY_DATA_DIR": str(folder / "data"),
            "GATEWAY_KEY_PEPPER": PEPPER,
            **({} if self.paid else {"GATEWAY_LEDGER_URL": "none"}),
            **({} if collector is None else _exported(collector)),
        }
        module = "loadtests.bench.silent" if self.silent else "gateway"
        command = [sys.executable, "-m", module, "serve", "--port", str(port)]
        with beside:
            running = launch(command, folder, port, cwd=ROOT, env=env, path="/readyz")
            return replace(running, beside=beside.pop_all())


def _exported(collector: str) -> dict[str, str]:
    return {"GATEWAY_OTLP_ENDPOINT": collector, "GATEWAY_OTLP_SECONDS": "5", "GATEWAY_TRACE_RATIO": "0.01"}


_ALL: Sequence[Peer] = (
    *(Direct(), Nginx(), Gateway(), Gateway("no money", paid=False)),
    *(Gateway("silent", silent=True), Gateway("traced", traced=True)),
)
PEERS: Mapping[str, Peer] = {peer.name: peer for peer in _ALL}


def nginx_conf(folder: Path, port: int, upstream: int, *, root: bool) -> str:
    """Started by root, its worker would lose the right to enter `folder`, unless told to stay root."""
    return NGINX_CONF.format(folder=folder, port=port, upstream=upstream, user="user root;" if root else "")


def launch(
    command: Sequence[str],
    folder: Path,
    port: int,
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    path: str | None = None,
) -> Running:
    """Starts a child and waits until `path` answers 200 (None: until the port is open). Raises StackFault."""
    with (folder / "log").open("ab") as log:
        began = time.monotonic()
        process = subprocess.Popen(
            command,
            cwd=cwd or folder,
            env={**os.environ, **(env or {})},
            stdout=log,
            stderr=log,
            preexec_fn=die_with_parent if sys.platform == "linux" else None,
            start_new_session=True,
        )
    while time.monotonic() < began + READY_SECONDS:
        if process.poll() is not None:
            break
        if answers(port, path):
            return Running(port, process, time.monotonic() - began)
        time.sleep(POLL_SECONDS)
    end(process)
    said = (folder / "log").read_text(errors="replace").strip().splitlines()[-LOG_LINES:]
    raise StackFault(f"{command[0]} did not become ready: {' / '.join(said) or 'it left no message'}")


def answers(port: int, path: str | None) -> bool:
    if path is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
            return True
        return False
    with contextlib.suppress(httpx.HTTPError):
        return httpx.get(f"http://127.0.0.1:{port}{path}", trust_env=False, timeout=1.0).status_code == httpx.codes.OK
    return False
