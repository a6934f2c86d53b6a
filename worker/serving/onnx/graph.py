"""Builder of an ONNX graph: its nodes, constants, inputs and outputs."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

OPSETS = {"": 18, "ai.onnx.ml": 3}
"""Old enough for runtimes of recent years, new enough for all operators used."""
IR_VERSION = 8
ROWS = "rows"
DOUBLE, FLOAT, STRING = TensorProto.DOUBLE, TensorProto.FLOAT, TensorProto.STRING
INT64, BOOL = TensorProto.INT64, TensorProto.BOOL
TYPES: dict[str, int] = {
    "float64": DOUBLE,
    "float32": FLOAT,
    "int64": INT64,
    "uint64": TensorProto.UINT64,
    "bool": BOOL,
}


class Graph:
    """Values are referred to by name. ``taken``: names reserved for inputs."""

    def __init__(self, taken: Sequence[str]) -> None:
        self._taken = set(taken)
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []
        self._count = 0

    def input(self, name: str, kind: int) -> str:
        """Declare a column, (rows, 1)."""
        self._inputs.append(helper.make_tensor_value_info(name, kind, [ROWS, 1]))
        return name

    def output(self, name: str, value: str, kind: int, sides: Sequence[int]) -> str:
        """Declare ``value``, (rows, *sides), as an output. Return its name, with "_" appended if it is taken."""
        while name in self._taken:
            name += "_"
        self._taken.add(name)
        self._nodes.append(helper.make_node("Identity", [value], [name]))
        self._outputs.append(helper.make_tensor_value_info(name, kind, [ROWS, *sides]))
        return name

    def constant(self, values: Any) -> str:
        """Add an array or a list of texts as a constant. Return its name."""
        name = self._new("constant")
        array = np.asarray(values)
        if array.dtype.kind in "US":
            texts = [str(text).encode() for text in array.ravel()]
            self._constants.append(TensorProto(name=name, data_type=STRING, dims=array.shape, string_data=texts))
        else:
            array = np.asarray(array, order="C")
            kind = TYPES[array.dtype.name]
            self._constants.append(helper.make_tensor(name, kind, array.shape, array.tobytes(), True))
        return name

    def add(self, operator: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """Add a node with one output. Return the output's name."""
        name = self._new(operator.lower())
        self._nodes.append(helper.make_node(operator, inputs, [name], domain=domain, **attributes))
        return name

    def sum_of_rows(self, value: str) -> str:
        """Return the sum of each row, (rows, 1)."""
        return self.add("ReduceSum", value, self.constant(np.array([1])), keepdims=1)

    def largest(self, value: str, columns: int) -> tuple[str, str]:
        """Return each row's ``columns`` largest values in descending order, the first of equals, and their places."""
        ordered, places = self._new("topk"), self._new("topk")
        size = self.constant(np.array([columns]))
        self._nodes.append(helper.make_node("TopK", [value, size], [ordered, places], axis=1))
        return ordered, places

    def zeros(self, rows_of: str, columns: int) -> str:
        """Return zeros, (rows, columns) float64, with as many rows as a matrix has."""
        rows = self.add("Gather", self.add("Shape", rows_of), self.constant(np.array([0])))
        shape = self.add("Concat", rows, self.constant(np.array([columns])), axis=0)
        return self.add("Expand", self.constant(np.zeros((1, 1))), shape)

    def loop(self, count: str, state: str, body: Callable[[str, str], str]) -> str:
        """Return what becomes of ``state``, float64, in ``count`` turns; ``count`` is an int64 of shape ().

        ``body`` adds the nodes of a turn: it is called with the turn's number, int64 (1,) from 0, and the state, and
        returns the next state. It may use every value of the graph.
        """
        number, going, before = (self._new(name) for name in ("turn", "going", "state"))
        outside, self._nodes = self._nodes, []
        # what a turn returns must be made in it
        after = self.add("Identity", body(self.add("Reshape", number, self.constant(np.array([1]))), before))
        still = self.add("Identity", going)
        nodes, self._nodes = self._nodes, outside
        value = helper.make_tensor_value_info
        inputs = [value(number, INT64, []), value(going, BOOL, []), value(before, DOUBLE, None)]
        made = [value(still, BOOL, []), value(after, DOUBLE, None)]
        turns = helper.make_graph(nodes, self._new("turns"), inputs, made)
        return self.add("Loop", count, "", state, body=turns)

    def cast(self, value: str, kind: int) -> str:
        """Return the value in another type."""
        return self.add("Cast", value, to=kind)

    def finish(self, name: str, description: str, version: str, properties: dict[str, str]) -> onnx.ModelProto:
        """Return the model."""
        graph = helper.make_graph(self._nodes, name, self._inputs, self._outputs, self._constants)
        opsets = [helper.make_opsetid(domain, number) for domain, number in OPSETS.items()]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
        model.producer_name, model.producer_version = "factrfm", version
        model.doc_string = description
        helper.set_model_props(model, properties)
        return model

    def _new(self, what: str) -> str:
        while (name := f"{what}:{self._count}") in self._taken:
            self._count += 1
        self._count += 1
        return name
