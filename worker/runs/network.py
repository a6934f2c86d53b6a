"""The run kind ``network``: train a multilayer perceptron and report how the theorem holds for its layers."""

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from worker.contracts.artifacts import NetworkCheckpoint, ResultFile
from worker.contracts.events import LayerData, LogData, StepData
from worker.contracts.messages import AnyReport, LogReport, NetworkDone, NetworkOrder, ProgressReport, StepReport
from worker.contracts.resources import Progress
from worker.contracts.results import NetworkReport
from worker.engine.network import CHUNK_ROWS, LOSSES, NetworkConfig, NetworkState, agreement, build, train
from worker.runs.data import load_rows
from worker.store.files.artifacts import Artifacts
from worker.store.files.safetensors_io import pack, unpack
from worker.training import cost
from worker.training.machine import Machine
from worker.training.rows import TrainingRows


def network(
    order: NetworkOrder, artifacts: Artifacts, machine: Machine, report: Callable[[AnyReport], None]
) -> NetworkDone:
    """Train a network, from the order's checkpoint if it has one, and store the report.

    Raises:
        InvalidRequest: the rows cannot be learned from.
        DoesNotFit: there is too little memory.
        EngineError: the training failed.
        ArtifactMissing, ArtifactCorrupt: storage lost or changed a file.
    """
    return _Network(order, artifacts, machine, report).run()


class _Network:
    """One training of a network."""

    def __init__(
        self, order: NetworkOrder, artifacts: Artifacts, machine: Machine, report: Callable[[AnyReport], None]
    ) -> None:
        self._order = order
        self._artifacts = artifacts
        self._machine = machine
        self._report = report
        self._spec = order.request.spec
        self._config = NetworkConfig(**self._spec.engine_options())
        self._steps: list[StepData] = []

    def run(self) -> NetworkDone:
        """Return the stored report."""
        state = self._resumed()
        done = state.step / self._config.steps if state is not None else 0.0
        self._report(ProgressReport(progress=Progress(fraction=done, stage="reading the rows"), next_fraction=done))
        rows = load_rows(self._order, self._artifacts, fold=None)
        self._report(
            ProgressReport(progress=Progress(fraction=done, stage="training"), next_fraction=self._after(done))
        )
        self._check_memory(rows)
        device = self._machine.device
        X, Y = rows.X.to(device, torch.float32), self._encoded_targets(rows).to(device)
        module = build(self._config, X.shape[1], rows.targets.n_outputs)
        started = time.perf_counter()
        for reached in train(module, X, Y, self._config, state):
            agreements = agreement(module, X, Y, LOSSES[self._config.loss], self._config.weight_decay)
            layers = [
                LayerData(
                    layer=index,
                    inputs=layer.n_inputs,
                    outputs=layer.n_outputs,
                    fact=layer.fact,
                    fact_symmetrised=layer.fact_symmetrised,
                    bfact=layer.bfact,
                    agop=layer.agop,
                    agop_root=layer.agop_root,
                    enfa=layer.enfa,
                    enfa_root=layer.enfa_root,
                    residual_gradient=layer.residual_gradient,
                    weight_norm=layer.weight_norm,
                )
                for index, layer in enumerate(agreements, 1)
            ]
            self._take(reached, layers, self._metrics(module, X, rows), time.perf_counter() - started)
            started = time.perf_counter()
        return self._store(rows)

    def _encoded_targets(self, rows: TrainingRows) -> Tensor:
        """Return the targets of the loss: class codes (n,), or standardised or one-hot columns (n, c)."""
        return rows.Y if self._config.loss == "cross_entropy" else rows.targets.encode(rows.Y).to(torch.float32)

    def _metrics(self, module: nn.Module, X: Tensor, rows: TrainingRows) -> dict[str, float]:
        device = self._machine.device
        parts = {"train": (X, rows.Y)}
        if rows.validation is not None:
            parts["validation"] = (rows.validation[0].to(device, torch.float32), rows.validation[1])
        targets = rows.targets.to(device)
        metrics: dict[str, float] = {}
        for part, (x, y) in parts.items():
            with torch.no_grad():
                outputs = torch.cat([module(block) for block in torch.split(x, CHUNK_ROWS)])
            scores = outputs.softmax(1) if self._config.loss == "cross_entropy" else outputs
            metrics |= {f"{part}_{name}": value for name, value in targets.metrics(scores, y.to(device)).items()}
        return metrics

    def _take(self, state: NetworkState, layers: list[LayerData], metrics: dict[str, float], seconds: float) -> None:
        """Store and report the state of the training."""
        total = self._config.steps
        spent = sum(step.seconds for step in self._steps) + seconds
        data = StepData(
            step=state.step,
            steps=total,
            loss=state.loss,
            penalty=state.penalty,
            metrics=metrics,
            layers=layers,
            seconds=seconds,
            eta_seconds=spent / state.step * (total - state.step) if state.step else None,
        )
        self._steps.append(data)
        progress = Progress(
            iteration=state.step,
            iterations=total,
            fraction=state.step / total,
            stage="training",
            eta_seconds=data.eta_seconds,
        )
        following = self._after(progress.fraction)
        self._report(StepReport(progress=progress, next_fraction=following, data=data, checkpoint=self._save(state)))

    def _after(self, fraction: float) -> float:
        """Return the fraction at the next report."""
        return min(fraction + self._config.report_every / self._config.steps, 1.0)

    def _save(self, state: NetworkState) -> NetworkCheckpoint:
        tensors = {f"weights.{name}": W.cpu().numpy() for name, W in state.weights.items()}
        tensors |= {f"momentum.{name}": V.cpu().numpy() for name, V in state.momentum.items()}
        metadata: dict[str, Any] = {
            "step": state.step,
            "loss": state.loss,
            "penalty": state.penalty,
            "steps": [step.model_dump(mode="json") for step in self._steps],
        }
        key = f"jobs/{self._order.prefix}/step-{state.step:07d}.safetensors"
        return NetworkCheckpoint(step=state.step, state=self._artifacts.put_bytes(key, pack(tensors, metadata)))

    def _resumed(self) -> NetworkState | None:
        checkpoint = self._order.checkpoint
        if checkpoint is None:
            return None
        tensors, metadata = unpack(self._artifacts.read_bytes(checkpoint.state))
        self._steps = [StepData.model_validate(step) for step in metadata["steps"]]
        self._report(LogReport(data=LogData(message=f"going on from the checkpoint of step {checkpoint.step}")))
        named = {name: torch.from_numpy(tensor).to(self._machine.device) for name, tensor in tensors.items()}
        weights, momentum = (
            {name.removeprefix(kind): tensor for name, tensor in named.items() if name.startswith(kind)}
            for kind in ("weights.", "momentum.")
        )
        return NetworkState(metadata["step"], weights, momentum, metadata["loss"], metadata["penalty"])

    def _check_memory(self, rows: TrainingRows) -> None:
        n, d = rows.X.shape
        m = 0 if rows.validation is None else rows.validation[0].shape[0]
        self._machine.check_fits(cost.network(self._spec, n, d, rows.targets.n_outputs, m).bytes)

    def _store(self, rows: TrainingRows) -> NetworkDone:
        report = NetworkReport(
            task=self._order.task,
            spec=self._spec.model_dump(mode="json"),
            rows=rows.X.shape[0],
            dropped_rows=rows.dropped[0],
            dropped_validation_rows=rows.dropped[1],
            features=list(rows.encoder.names),
            steps=self._steps,
        )
        key = f"results/{self._order.prefix}/report.json"
        stored = self._artifacts.put_bytes(key, report.model_dump_json().encode())
        return NetworkDone(file=ResultFile(result=stored, media_type="application/json"))
