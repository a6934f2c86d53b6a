"""From raw columns to encoded rows: ``worker.tables.encoding.encoder`` as an ONNX graph."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from worker.serving.onnx.graph import DOUBLE, FLOAT, INT64, Graph
from worker.tables.cells.missing_words import missing_words
from worker.tables.encoding.categories import GAP, RARE, UNKNOWN
from worker.tables.encoding.column_code import VIEWS, ColumnCode, Expansion
from worker.tables.encoding.encoder import Encoder
from worker.tables.encoding.statistics import Statistics


def encoded_rows(graph: Graph, encoder: Encoder) -> str:
    """Return X (rows, d) float64; the inputs have the names of the encoder's columns."""
    blocks = [
        _categorical(graph, code) if code.type == "categorical" else _numeric(graph, code) for code in encoder.codes
    ]
    X = graph.add("Concat", *blocks, axis=1)
    if not encoder.normalize_rows:
        return X
    lengths = graph.add("Sqrt", graph.sum_of_rows(graph.add("Mul", X, X)))
    positive = graph.add("Greater", lengths, graph.constant(np.zeros(1)))
    return graph.add("Div", X, graph.add("Where", positive, lengths, graph.constant(np.ones(1))))


def _categorical(graph: Graph, code: ColumnCode) -> str:
    if code.statistics is not None:
        return _with_means(graph, code, code.statistics)
    other = len(code.categories)
    absent = other + 1 if code.missing else other
    place = _place(graph, code, {GAP: absent, RARE: other}, other)
    every = graph.constant(np.arange(max(other, absent) + 1)[None, :])
    return graph.cast(graph.add("Equal", place, every), DOUBLE)


def _with_means(graph: Graph, code: ColumnCode, statistics: Statistics) -> str:
    """Look up whole encoded rows, of each category, of a missing value and of unknown ones."""
    end = len(code.levels) + 3
    place = _place(graph, code, {GAP: end + GAP}, end + UNKNOWN)
    indicators = graph.constant(code.indicators[:, None])
    width = len(code.categories) + 1 + code.missing
    every = graph.constant(np.arange(width)[None, :])
    flat = graph.add("Squeeze", place, graph.constant(np.array([1])))
    same = graph.cast(graph.add("Equal", graph.add("Gather", indicators, flat, axis=0), every), DOUBLE)
    means = graph.add("Gather", graph.constant(statistics.table), flat, axis=0)
    return graph.add("Concat", same, means, axis=1)


def _place(graph: Graph, code: ColumnCode, special: Mapping[int, int], unknown: int) -> str:
    """Return the place of each row's category; ``special``: what stands for places counted from the end."""
    places = {text: special.get(place, place) for text, place in code.known.keys.items()}
    return graph.add(
        "LabelEncoder",
        code.name,
        domain="ai.onnx.ml",
        keys_strings=list(places),
        values_int64s=list(places.values()),
        default_int64=unknown,
    )


def _numeric(graph: Graph, code: ColumnCode) -> str:
    value = code.name
    if code.missing_words is not None:
        for number in missing_words(code.missing_words).number_of(truth=code.type == "boolean"):
            same = graph.add("Equal", value, graph.constant(np.array([number])))
            value = graph.add("Where", same, graph.constant(np.array([np.nan])), value)
    absent = graph.add("IsNaN", value)
    values = graph.add("Where", absent, graph.constant(np.array([code.fill])), value)
    centred = graph.add("Sub", values, graph.constant(np.array([code.shift])))
    block = graph.add("Div", centred, graph.constant(np.array([code.scale])))
    if code.expansion is not None:
        views = [block, _scored(graph, code.expansion, values), _binned(graph, code.expansion, values)]
        block = graph.add("Div", graph.add("Concat", *views, axis=1), graph.constant(np.sqrt([float(VIEWS)])))
        block = graph.add("Where", absent, graph.constant(np.zeros(1)), block)
    return graph.add("Concat", block, graph.cast(absent, DOUBLE), axis=1) if code.missing else block


def _scored(graph: Graph, expansion: Expansion, values: str) -> str:
    knots, scores = np.array(expansion.knots), np.array(expansion.scores)
    upper, lower = _Lines.rightmost(knots, scores), _Lines.leftmost(knots, scores)
    values = _snapped(graph, expansion, values)
    known = graph.constant(knots[None, :])
    both = [
        _on(graph, upper, _count(graph, "GreaterOrEqual", values, known), values),
        _on(graph, lower, _count(graph, "LessOrEqual", values, known), values),
    ]
    middle = graph.add("Div", graph.add("Add", *both), graph.constant(np.array([2.0])))
    centred = graph.add("Sub", middle, graph.constant(np.array([expansion.score_shift])))
    return graph.add("Div", centred, graph.constant(np.array([expansion.score_scale])))


def _snapped(graph: Graph, expansion: Expansion, values: str) -> str:
    singles, knots = expansion.ties
    if not len(knots):
        return values
    same = graph.add("Equal", graph.cast(values, FLOAT), graph.constant(singles[None, :]))
    hits = graph.cast(same, DOUBLE)
    knot = graph.sum_of_rows(graph.add("Mul", hits, graph.constant(knots[None, :])))
    hit = graph.add("Greater", graph.sum_of_rows(hits), graph.constant(np.zeros(1)))
    return graph.add("Where", hit, knot, values)


@dataclass(frozen=True)
class _Lines:
    """base + slope · (value − origin), indexed by the number of knots on one side of the value."""

    base: np.ndarray
    slope: np.ndarray
    origin: np.ndarray

    @classmethod
    def rightmost(cls, knots: np.ndarray, scores: np.ndarray) -> "_Lines":
        """Index by the number of knots ≤ value, which takes the last of equal knots."""
        widths = np.diff(knots)
        slope = np.divide(np.diff(scores), widths, out=np.zeros(len(widths)), where=widths > 0)
        return cls(
            np.concatenate([scores[:1], scores]),
            np.concatenate([[0.0], slope, [0.0]]),
            np.concatenate([knots[:1], knots]),
        )

    @classmethod
    def leftmost(cls, knots: np.ndarray, scores: np.ndarray) -> "_Lines":
        """Index by the number of knots ≥ value, which takes the first of equal knots."""
        mirrored = cls.rightmost(-knots[::-1], -scores[::-1])
        return cls(-mirrored.base, mirrored.slope, -mirrored.origin)


def _count(graph: Graph, comparison: str, values: str, knots: str) -> str:
    return graph.sum_of_rows(graph.cast(graph.add(comparison, values, knots), INT64))


def _on(graph: Graph, lines: _Lines, place: str, values: str) -> str:
    base, slope, origin = (
        graph.add("Gather", graph.constant(part), place) for part in (lines.base, lines.slope, lines.origin)
    )
    return graph.add("Add", base, graph.add("Mul", slope, graph.add("Sub", values, origin)))


def _binned(graph: Graph, expansion: Expansion, values: str) -> str:
    edges = np.array(expansion.edges)
    low, high = edges[:-1], edges[1:]
    below = graph.add("Max", graph.add("Min", values, graph.constant(high[None, :])), graph.constant(low[None, :]))
    # halving keeps the widths of bins of huge numbers finite
    half = graph.add("Mul", below, graph.constant(np.array([0.5])))
    above = graph.add("Sub", half, graph.constant(low[None, :] / 2))
    shares = graph.add("Div", above, graph.constant((high / 2 - low / 2)[None, :]))
    centred = graph.add("Sub", shares, graph.constant(np.array(expansion.bin_means)[None, :]))
    return graph.add("Div", centred, graph.constant(np.array([expansion.bin_scale])))
