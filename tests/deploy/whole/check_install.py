"""The install lines of the Dockerfile, as they are written, in fresh environments; then the gateway that came out of
them, by the image's variables, command and HEALTHCHECK. Takes minutes, and needs a package index; needs no root."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.deploy.written import ROOT, environment, exec_form, lineage, stages

STARTS_SECONDS = 60.0
BUILD = next(stage for stage in stages() if stage.name == "build")


def exchanged(text: str, folder: Path) -> str:
    """/opt, /etc and /var/lib of the image lie in `folder`."""
    return re.sub(r"(?<![\w/])/(?=(opt|etc|var|tmp)\b)", f"{folder}/", text)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of an image: COPY and RUN of the stage `build`, in their order."""
    folder = tmp_path_factory.mktemp("image")
    source = folder / "src"
    source.mkdir()
    # `python` is that of the base image: bare, with pip.
    subprocess.run([sys.executable, "-m", "venv", folder / "base"], check=True)
    env = {"PATH": f"{folder}/base/bin:{os.defpath}", "HOME": str(folder), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    env |= {key: value for key, value in os.environ.items() if key.startswith(("PIP_", "SSL_", "REQUESTS_"))}
    for word, rest in BUILD.steps:
        if word == "COPY":
            *names, target = shlex.split(rest)
            for name in names:
                at = source / target / (Path(name).name if target.endswith("/") else "")
                at.parent.mkdir(parents=True, exist_ok=True)
                if (ROOT / name).is_dir():
                    shutil.copytree(ROOT / name, at, ignore=shutil.ignore_patterns("__pycache__"))
                else:
                    shutil.copy(ROOT / name, at)
        elif word == "RUN":
            subprocess.run(exchanged(rest, folder), shell=True, cwd=source, env=env, check=True)
    return folder


def python(image: Path, code: str) -> str:
    command = [image / "opt" / "gateway" / "bin" / "python", "-I", "-c", code]
    return subprocess.run(command, check=True, capture_output=True, text=True, cwd="/").stdout.strip()


def test_what_is_installed_is_what_is_locked(image: Path) -> None:
    listed = python(image, "import importlib.metadata as m; print('\\n'.join(d.name for d in m.distributions()))")
    names = {re.sub(r"[-_.]+", "-", name).lower() for name in listed.split()}
    text = (ROOT / "requirements" / "image.txt").read_text()
    locked = set(re.findall(r"^([a-z0-9][\w.-]*?)(?:\[.*?\])?==", text, re.M))
    assert names - {"hybrid-router-gateway"} <= {re.sub(r"[-_.]+", "-", name) for name in locked}
    assert "hybrid-router-gateway" in names
    assert not names & {"pip", "setuptools", "wheel", "flit-core"}
    assert not (image / "opt" / "gateway" / "bin" / "pip").exists()


def test_the_wheel_has_all_that_is_no_code(image: Path) -> None:
    packaged = Path(python(image, "import gateway; print(gateway.__path__[0])"))
    assert str(packaged).startswith(str(image))
    for path in (ROOT / "gateway").rglob("*"):
        if path.is_file() and path.suffix != ".pyc":
            assert (packaged / path.relative_to(ROOT / "gateway")).exists(), path


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def test_it_serves_and_is_healthy_by_its_own_healthcheck(image: Path) -> None:
    shutil.copytree(ROOT / "policies" / "air-gapped", image / "etc" / "gateway" / "policies")
    (image / "var" / "lib" / "gateway").mkdir(parents=True)
    env = {key: exchanged(value, image) for key, value in environment("gateway").items()}
    env |= {"GATEWAY_HOST": "127.0.0.1", "GATEWAY_PORT": str(free_port()), "GATEWAY_ADMIN_PORT": str(free_port())}
    env |= {"GATEWAY_LEDGER_URL": "none", "GATEWAY_KEY_PEPPER": "a-pepper-of-this-test", "HOME": str(image)}
    entry, *command = [*exec_form("gateway", "ENTRYPOINT"), *exec_form("gateway", "CMD")]
    program = shutil.which(entry, path=env["PATH"])
    assert program == str(image / "opt" / "gateway" / "bin" / "gateway")
    said = [rest for stage in lineage("gateway") for rest in stage.all("HEALTHCHECK")][-1]
    check = json.loads(said.partition("CMD ")[2])
    process = subprocess.Popen([program, *command], env=env, cwd=image / "var" / "lib" / "gateway")
    try:
        deadline = time.monotonic() + STARTS_SECONDS
        probe = [shutil.which(check[0], path=env["PATH"]) or check[0], *check[1:]]
        while subprocess.run(probe, env=env, capture_output=True).returncode:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.5)
        process.terminate()
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
    assert subprocess.run(probe, env=env, capture_output=True).returncode != 0
