"""Heatmaps of feature matrices."""

import io

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure

MAX_LABELS = 60
MAX_LABEL_LENGTH = 24


def heatmap(M: np.ndarray, names: list[str], title: str) -> bytes:
    """Return M (d, d) as a PNG: colour by value, zero white, axes labelled by ``names``.

    With more than 60 columns every k-th is labelled. The same matrix gives the same bytes.
    """
    d = len(names)
    side = float(np.clip(0.28 * min(d, MAX_LABELS) + 2.5, 4.5, 16.0))
    figure = Figure(figsize=(side + 1.2, side), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    largest = float(np.abs(M).max()) or 1.0
    picture = axes.imshow(M, cmap="RdBu_r", norm=TwoSlopeNorm(0.0, -largest, largest), interpolation="nearest")
    step = -(-d // MAX_LABELS)
    ticks = list(range(0, d, step))
    labels = [_shortened(names[index]) for index in ticks]
    size = 8 if len(ticks) <= 30 else 6
    axes.set_xticks(ticks, labels, rotation=90, fontsize=size)
    axes.set_yticks(ticks, labels, fontsize=size)
    axes.set_title(title if step == 1 else f"{title}\none name in {step}", fontsize=10)
    figure.colorbar(picture, ax=axes, shrink=0.8, label="entry of M")
    target = io.BytesIO()
    figure.savefig(target, format="png", metadata={"Software": None})
    return target.getvalue()


def _shortened(name: str) -> str:
    # a dollar sign would start math text of matplotlib
    shown = name if len(name) <= MAX_LABEL_LENGTH else name[: MAX_LABEL_LENGTH - 1] + "…"
    return shown.replace("$", r"\$").replace("\n", " ")
