"""Containers hold no privilege that they do not need."""

import re
from typing import Any

import pytest
import yaml
from support.processes import REPOSITORY

SERVICES: dict[str, Any] = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text())["services"]


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_drops_everything_and_writes_only_where_it_must(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"] is True
    assert "/tmp" in service["tmpfs"]
    assert not {"privileged", "cap_add", "network_mode", "pid", "ipc", "userns_mode"} & set(service)
    assert not [one for one in service["volumes"] if one.startswith(("/", "."))], "nothing of the host is mounted"
    assert {"cpus", "memory"} <= set(service["deploy"]["resources"]["limits"])


@pytest.mark.parametrize("name", SERVICES)
def test_only_the_api_is_reached_from_outside_and_that_from_this_machine_alone(name: str) -> None:
    for port in SERVICES[name].get("ports", []):
        assert name == "service"
        assert port.startswith("127.0.0.1:")


def test_images_run_as_a_user_without_rights() -> None:
    stages = re.split(r"^FROM ", (REPOSITORY / "Dockerfile").read_text(), flags=re.M)[1:]
    users = {stage.split(" AS ")[1].split()[0]: re.findall(r"^USER (.+)$", stage, re.M) for stage in stages}
    assert users["base"] == ["10001"]
    assert users["worker"] == users["service"] == [], "both go on as the user of base"
    for name in ("redis", "postgres"):
        assert SERVICES[name]["user"] == name
