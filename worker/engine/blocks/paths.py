"""How the leaves of a tree are reached: the cuts from the first one down, and the side of each."""

from dataclasses import dataclass
from typing import Self

from worker.engine.blocks.tree import Tree

Step = tuple[int, bool]
"""The number of a cut, and whether the right side of it was taken: x · direction > threshold."""


@dataclass(frozen=True)
class Paths:
    """Of s cuts and s + 1 leaves; a node is the number of a cut, or −1 − the number of a leaf.

    ``order``: the leaves from left to right, so that those beside each other share their first cuts. ``parents``: the
    step that leads to each node, but for the first one. ``counts`` (s,): how many leaves are below each cut.
    """

    order: tuple[int, ...]
    parents: dict[int, Step]
    counts: tuple[int, ...]

    @classmethod
    def of(cls, tree: Tree) -> Self:
        """Return the paths of a tree, in time that grows with its leaves however deep it is."""
        children = tree.children.tolist()
        parents = {node: (cut, bool(side)) for cut, pair in enumerate(children) for side, node in enumerate(pair)}
        order: list[int] = []
        nodes = [0 if children else -1]
        while nodes:
            node = nodes.pop()
            if node < 0:
                order.append(-1 - node)
            else:
                nodes += reversed(children[node])
        counts = [0] * len(children)
        # every cut comes before those below it
        for cut in reversed(range(len(children))):
            counts[cut] = sum(1 if node < 0 else counts[node] for node in children[cut])
        return cls(tuple(order), parents, tuple(counts))

    def to(self, leaf: int) -> list[Step]:
        """Return the steps to a leaf, from the first cut down."""
        steps: list[Step] = []
        node = -1 - leaf
        while node in self.parents:
            steps.append(self.parents[node])
            node = steps[-1][0]
        return steps[::-1]
