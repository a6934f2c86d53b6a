"""Rules, dashboard and manual speak of metrics, alerts and settings that there are."""

import json
import re

import pytest
import yaml
from prometheus_client import REGISTRY, generate_latest
from support.processes import REPOSITORY

from service.settings import ServiceSettings, variable
from service.upkeep.metrics import ServiceCollector
from worker.settings import WorkerSettings
from worker.telemetry import metrics

DEPLOY = REPOSITORY / "docs" / "deploy"
MANUAL = REPOSITORY / "docs" / "operations.md"
RULES = yaml.safe_load((DEPLOY / "alerts.yml").read_text())["groups"][0]["rules"]
PANELS = json.loads((DEPLOY / "grafana.json").read_text())["panels"]
EXPRESSIONS = [rule["expr"] for rule in RULES] + [target["expr"] for panel in PANELS for target in panel["targets"]]
SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum"), "summary": ("_count", "_sum")}
OF_PROMETHEUS = {"up", "process_resident_memory_bytes"}


@pytest.fixture
def exported(context, tmp_path):
    """Every name that an API process or a worker tells."""
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho '0, 1024, 81559'\n")
    program.chmod(0o755)
    told = b"".join(
        generate_latest(one) for one in (REGISTRY, ServiceCollector(context), metrics.GpuMemory(str(program)))
    )
    kinds = re.findall(r"^# TYPE (\S+) (\S+)$", told.decode(), re.MULTILINE)
    names = set(OF_PROMETHEUS)
    for name, kind in kinds:
        stem = name.removesuffix("_total")
        names |= {f"{stem}{suffix}" for suffix in SUFFIXES.get(kind, ("",))}
    return names


def test_every_metric_of_rules_and_dashboard_is_exported(exported):
    for expression in EXPRESSIONS:
        used = set(re.findall(r"\b(?:factrfm|process)_\w+|\bup\b", re.sub(r'"[^"]*"', "", expression)))
        assert used, expression
        assert used <= exported, expression


def test_every_alert_has_its_place_in_the_manual():
    headings = re.findall(r"^### (\w+)$", MANUAL.read_text(), re.MULTILINE)
    assert headings == [rule["alert"] for rule in RULES]
    for rule in RULES:
        assert rule["annotations"]["runbook_url"] == f"docs/operations.md#{rule['alert'].lower()}"
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        assert rule["labels"]["severity"] in ("page", "warn")


def test_the_manual_names_settings_and_pages_that_there_are():
    text = MANUAL.read_text()
    known = {
        variable(name, info) for kind in (ServiceSettings, WorkerSettings) for name, info in kind.model_fields.items()
    }
    assert set(re.findall(r"FACTRFM_[A-Z_]+|OTEL_EXPORTER[A-Z_]+", text)) <= known
    for place in re.findall(r"\]\(([^)#]+)\)", text):
        assert (MANUAL.parent / place).exists(), place


def test_a_gpu_is_told_in_bytes_and_one_that_does_not_answer_not_at_all(tmp_path):
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho '0, 1024, 81559'\necho '1, [N/A], 40960'\n")
    program.chmod(0o755)
    told = {
        (family.name, sample.labels["gpu"]): sample.value
        for family in metrics.GpuMemory(str(program)).collect()
        for sample in family.samples
    }
    used, total = "factrfm_gpu_memory_used_bytes", "factrfm_gpu_memory_total_bytes"
    assert told == {(used, "0"): 2**30, (total, "0"): 81559 * 2**20, (total, "1"): 40960 * 2**20}
    program.write_text("#!/bin/sh\nexit 9\n")
    assert list(metrics.GpuMemory(str(program)).collect()) == []
