"""What stands around a feature matrix is true: counts, and why there is none."""

import re

import numpy as np
import pytest
from playwright.sync_api import expect
from support.browsing import Desk

PLAIN = {"encoding": "plain", "feature_matrix": "full", "exponent": 1, "iterations": 1}


def _upload(desk: Desk, columns: int, scale: float = 1.0) -> str:
    X = np.random.default_rng(columns).normal(size=(80, columns))
    return desk.system.upload(X, X[:, 0] * scale, [f"x{k}" for k in range(columns)])


@pytest.mark.parametrize(
    ("columns", "ends"), [(1, []), (2, ["1", "2"]), (7, ["1", "7"]), (8, ["1", "8"]), (45, ["1", "40 of 45"])]
)
def test_the_axis_of_eigenvalues_counts_those_that_there_are(desk: Desk, columns: int, ends: list[str]) -> None:
    job = desk.system.wait(desk.system.submit(dataset=_upload(desk, columns), spec=PLAIN))
    page = desk.signed_in()
    page.goto(f"/models/{job['model']}")
    page.wait_for_selector("[data-painted]")
    expect(page.locator("[data-spectrum] text")).to_have_text(ends)
    expect(page.locator("[data-rank]")).to_have_text(re.compile(rf"of {columns}$"))
    page.context.close()


def test_what_is_damaged_is_said_where_scripts_ask_for_it(desk: Desk) -> None:
    dataset = _upload(desk, 4)
    job = desk.system.wait(desk.system.submit(dataset=dataset, spec=PLAIN))
    artifacts = desk.system.home / "artifacts"
    [table] = (artifacts / "datasets").rglob(f"*{dataset}*/table*")
    [matrices] = [file for file in artifacts.rglob("matrices.safetensors") if job["id"] in str(file)]
    for file in (table, matrices):
        content = file.read_bytes()
        file.write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
    page = desk.signed_in()
    page.goto(f"/datasets/{dataset}")
    expect(page.get_by_role("alert").first).to_have_text(re.compile("damaged or gone. Upload the same file again"))
    page.goto(f"/jobs/{job['id']}")
    expect(page.locator("[data-heatmap]")).to_contain_text("damaged or gone: restore it from a backup, or train again")
    page.goto(f"/models/{job['model']}")
    expect(page.locator(".damaged")).to_be_visible()
    expect(page.get_by_role("heading", name="One row")).to_be_visible()
    page.context.close()


def test_a_job_that_ended_without_a_matrix_does_not_promise_one(desk: Desk) -> None:
    dataset = _upload(desk, 3)
    before = desk.system.submit(dataset=dataset, spec={**PLAIN, "iterations": 1000})
    waiting = desk.system.submit(dataset=dataset, spec=PLAIN)
    for job in (waiting, before):
        desk.system.client.post(f"/v1/jobs/{job}/cancel")
        desk.system.wait(job)
    page = desk.signed_in()
    page.goto(f"/jobs/{waiting}")
    note = page.locator("[data-heatmap]")
    expect(note).to_have_text("There is no matrix: the job was cancelled before its first iteration.")
    expect(page.locator("[data-live]")).to_be_hidden()
    done = desk.system.wait(desk.system.submit(dataset=dataset, spec=PLAIN))
    desk.system.client.delete(f"/v1/models/{done['model']}")
    page.goto(f"/jobs/{done['id']}")
    expect(note).to_contain_text("there is no model")
    page.context.close()
