"""What can be said of the image without building it; `make image-test` runs its install lines."""

from __future__ import annotations

import re
import shlex

import pytest
import yaml

from gateway import __version__
from gateway.settings import Settings
from tests.deploy.written import ROOT, arguments, environment, exec_form, lineage, stages
from tests.helm.settings_schema import CHART

STAGES = {stage.name: stage for stage in stages()}
FINAL = ("gateway", "demo")
EXTRAS = {"opentelemetry-exporter-otlp-proto-http", "psycopg-binary", "obstore", "lightkube", "nvidia-ml-py"}
TOOLS = {"pip", "setuptools", "wheel", "flit-core", "uv", "pytest", "ruff", "mypy", "locust"}


def locked(name: str) -> set[str]:
    return set(re.findall(r"^([a-z0-9][\w.-]*)(?:\[.*?\])?==", (ROOT / "requirements" / name).read_text(), re.M))


def test_the_base_is_pinned_to_a_patch_and_named_without_a_registry() -> None:
    assert re.fullmatch(r"3\.\d+\.\d+-slim-\w+", arguments()["PYTHON"])
    assert {stage.base for stage in STAGES.values()} <= {"python:${PYTHON}", *STAGES}


def test_what_is_installed_has_hashes_or_comes_from_the_stage_before() -> None:
    lines = [shlex.split(part) for s in STAGES.values() for rest in s.all("RUN") for part in rest.split("&&")]
    installs = [words for words in lines if "pip" in words and "install" in words]
    assert len(installs) == 4
    for words in installs:
        assert "--require-hashes" in words or {"--no-index", "--no-deps"} <= set(words), words
        for name in (word for word in words if word.startswith("requirements/")):
            assert (ROOT / name).exists()


def test_all_that_is_copied_is_there_and_reaches_the_builder() -> None:
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = [shlex.split(rest)[:-1] for s in STAGES.values() for rest in s.all("COPY") if "--from" not in rest]
    for source in (source for sources in copied for source in sources):
        assert (ROOT / source).exists(), source
        assert source.split("/")[0] in allowed, source
    from_stages = [re.match(r"--from=(\S+)", rest) for s in STAGES.values() for rest in s.all("COPY")]
    assert {found[1] for found in from_stages if found} <= set(STAGES)


@pytest.mark.parametrize("name", FINAL)
def test_the_final_stages_build_nothing_and_run_as_nobody_in_particular(name: str) -> None:
    own = [stage for stage in lineage(name) if stage.name in FINAL]
    run = " ".join(rest for stage in own for rest in stage.all("RUN"))
    assert "pip uninstall" in run
    assert "ensurepip" in run
    assert not re.search(r"apt|pip install|curl|wget", run)
    users = [user for stage in own for user in stage.all("USER")]
    assert users == ["10001:10001"]
    assert {signal for stage in own for signal in stage.all("STOPSIGNAL")} == {"SIGTERM"}


def test_it_says_what_the_chart_says() -> None:
    pod = (CHART / "templates" / "_pod.tpl").read_text()
    deployment = (CHART / "templates" / "deployment.yaml").read_text()
    env = environment("gateway")
    assert "runAsUser: 10001" in deployment
    for name in ("GATEWAY_HOST", "GATEWAY_POLICIES", "GATEWAY_DATA_DIR"):
        assert re.search(rf'{name}, value: "?{re.escape(env[name])}"?}}', pod), name
    values = yaml.safe_load((CHART / "values.yaml").read_text())["ports"]
    assert (env["GATEWAY_PORT"], env["GATEWAY_ADMIN_PORT"]) == (str(values["http"]), str(values["admin"]))
    for volume in re.findall(r"mountPath: (/var/lib/\S+?)[,}]", pod):
        assert volume in STAGES["gateway"].all("RUN")[0], volume


def test_variables_are_settings_and_the_state_lies_in_the_volume() -> None:
    env = environment("gateway")
    known = {f"GATEWAY_{name.upper()}" for name in Settings.model_fields}
    assert {name for name in env if name.startswith("GATEWAY_")} <= known
    (volume,) = STAGES["gateway"].all("VOLUME")
    assert env["GATEWAY_DATA_DIR"].startswith(f"{volume}/")
    assert STAGES["gateway"].all("EXPOSE") == [f"{env['GATEWAY_PORT']} {env['GATEWAY_ADMIN_PORT']}"]


def test_commands_are_lists() -> None:
    assert [*exec_form("gateway", "ENTRYPOINT"), *exec_form("gateway", "CMD")] == ["gateway", "serve"]
    assert [*exec_form("demo", "ENTRYPOINT"), *exec_form("demo", "CMD")] == ["python", "-m", "loadtests.simfleet"]
    assert re.search(r'CMD \["python", "-c", ', STAGES["gateway"].all("HEALTHCHECK")[0])


def test_what_is_built_without_a_target_is_the_gateway_of_this_version() -> None:
    *_, last = stages()
    assert (last.base, last.steps) == ("gateway", [])
    assert f"VERSION={__version__}" in STAGES["gateway"].all("ARG")


def test_the_locks_have_every_extra_no_tool_and_hashes_alone() -> None:
    assert locked("image.txt") >= EXTRAS
    assert locked("image.txt") & TOOLS == set()
    assert locked("build.txt") == {"flit-core"}
    for name in ("image.txt", "build.txt", "ops.txt", "load.txt"):
        text = (ROOT / "requirements" / name).read_text()
        assert "://" not in re.sub(r"#.*", "", text)
        for requirement in re.split(r"\n(?=[a-z0-9])", text):
            assert "--hash=sha256:" in requirement, (name, requirement[:40])
