"""Texts as a few numbers: hashed character n-grams, weighted by how rare they are, in the directions of most spread.

What scikit-learn makes with ``HashingVectorizer(analyzer="char_wb")``, ``TfidfTransformer(sublinear_tf=True)`` and
``TruncatedSVD``. Each text is encoded by itself, so its numbers have the same bits beside any others.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch

from worker.tables.encoding import copies
from worker.tables.encoding.ngrams import BUCKETS, Counts, counted, normalized
from worker.tables.values import MISSING, spelling

COMPONENTS = 32
SPARE = 8
"""Further directions of the search for those of most spread."""
ROUNDS = 4
SEED = 0
LEARNED_ROWS = 2**12
"""The weights are learned from so many texts, drawn of the training rows, where there are more."""
SMALLEST = 1e-6
"""Directions whose spread is a smaller share of the largest are rounding."""
WORDS, MAX_WORD_LENGTH, MAX_WORDS = 3, 20, 200
"""Each direction is called by words: so many, of at most such a length, of those that most texts hold, at least two."""


def cells_of(texts: Sequence[str | None], missing_words: Sequence[str] | None) -> list[str | None]:
    """Return cells as their texts are taken, whichever way they came; None for those without a word.

    Numbers, truth values and dates are their plain text; ``missing_words`` as of ``values.without_missing``.
    """
    gaps = frozenset(MISSING if missing_words is None else missing_words)
    stripped = [None if text is None else text.strip() for text in texts]
    return [None if not text or text in gaps else spelling(text) for text in stripped]


def learned_rows(rows: np.ndarray) -> np.ndarray:
    """Return the rows (k,) of those (n,) that are learned from, in order."""
    if len(rows) <= LEARNED_ROWS:
        return rows
    return np.sort(np.random.default_rng(SEED).choice(rows, LEARNED_ROWS, replace=False))


@dataclass(frozen=True, eq=False)
class TextCode:
    """How texts become numbers: (weighted n-grams · ``directions`` − ``mean``) / ``scale``.

    ``idf`` (BUCKETS,) float32: how rare the n-grams of a bucket are. ``directions`` (BUCKETS, k) float32.
    ``mean`` (k,). ``words``: the words that stand for each direction, (k,).
    """

    idf: np.ndarray
    directions: np.ndarray
    mean: tuple[float, ...]
    scale: float
    words: tuple[str, ...]

    @classmethod
    def fit(cls, texts: Sequence[str], weights: np.ndarray | None = None) -> Self | None:
        """Learn from the texts of training rows, with ``weights`` (n,); None if there are none, or all are alike."""
        if len(set(texts)) < 2:
            return None
        idf = _idf(texts, weights)
        directions = _directions(texts, idf, weights)
        raw = cls(idf, directions, (0.0,) * directions.shape[1], 1.0, ())
        found = raw.encode(texts)
        spread = float(copies.variance(found, weights).sum())
        if spread == 0:
            return None
        mean = tuple(float(value) for value in copies.mean(found, weights))
        return cls(idf, directions, mean, float(np.sqrt(spread)), _words(raw, texts, np.array(mean)))

    @classmethod
    def empty(cls) -> Self:
        """Return the code of texts that are all alike, which has no directions."""
        return cls(np.ones(BUCKETS, np.float32), np.zeros((BUCKETS, 0), np.float32), (), 1.0, ())

    def encode(self, texts: Sequence[str | None]) -> np.ndarray:
        """Return float64 (n, k). Texts that are None are in the middle of the others."""
        places = {text: place for place, text in enumerate(dict.fromkeys(text for text in texts if text is not None))}
        distinct = np.zeros((len(places) + 1, len(self.mean)))
        for counts in counted([*places]) if self.mean else ():
            found = torch.nn.functional.embedding_bag(
                torch.from_numpy(counts.buckets),
                torch.from_numpy(self.directions),
                torch.from_numpy(counts.starts),
                mode="sum",
                per_sample_weights=torch.from_numpy(_weighted(counts, self.idf)).float(),
            )
            distinct[counts.texts] = (found.double().numpy() - self.mean) / self.scale
        encoded: np.ndarray = distinct[[len(places) if text is None else places[text] for text in texts]]
        return encoded

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays among what ``of`` makes the same code of."""
        return {"idf": self.idf, "directions": self.directions}

    def to_json(self) -> dict[str, Any]:
        """Return the rest of what ``of`` makes the same code of."""
        return {"mean": list(self.mean), "scale": self.scale, "words": list(self.words)}

    @classmethod
    def of(cls, document: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Self:
        """Return the code that ``to_json`` and ``to_arrays`` took apart."""
        return cls(
            arrays["idf"], arrays["directions"], tuple(document["mean"]), document["scale"], tuple(document["words"])
        )


def _weighted(counts: Counts, idf: np.ndarray) -> np.ndarray:
    """Return the weight of each entry, (entries,) float64; those of a text have length 1."""
    weights = (1 + np.log(counts.counts)) * idf[counts.buckets]
    lengths = np.sqrt(np.add.reduceat(weights**2, counts.starts))
    weighted: np.ndarray = weights / lengths[counts.owners]
    return weighted


def _idf(texts: Sequence[str], weights: np.ndarray | None) -> np.ndarray:
    """Return log((1 + n) / (1 + texts with the bucket)) + 1, (BUCKETS,) float32."""
    holding = np.zeros(BUCKETS)
    for counts in counted(texts):
        own = None if weights is None else weights[counts.texts][counts.owners]
        holding += np.bincount(counts.buckets, own, BUCKETS)
    n = len(texts) if weights is None else weights.sum()
    return (np.log((1 + n) / (1 + holding)) + 1).astype(np.float32)


def _directions(texts: Sequence[str], idf: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    """Return the leading right singular vectors of the weighted n-grams A of texts, (BUCKETS, k) float32.

    Iterates a subspace under AᵀA (Halko, Martinsson and Tropp 2011, algorithm 4.4), which copies of rows and weights
    make alike. A is kept sparse and multiplied entry after entry, so the number of threads does not matter.
    """
    A, used = _sparse(texts, idf, weights)
    basis = np.random.default_rng(SEED).standard_normal((BUCKETS, COMPONENTS + SPARE))[used]
    for _ in range(ROUNDS):
        basis = np.linalg.qr(_times(A.t(), _times(A, basis))).Q
    images = _times(A, basis)
    spreads, rotation = np.linalg.eigh(np.einsum("ni,nj->ij", images, images))
    leading = np.flatnonzero(spreads > SMALLEST * spreads[-1])[::-1][:COMPONENTS]
    directions = basis @ rotation[:, leading]
    largest = np.take_along_axis(directions, np.abs(directions).argmax(0)[None], 0)
    found = np.zeros((BUCKETS, len(leading)), np.float32)
    found[used] = directions * np.where(largest < 0, -1.0, 1.0)
    return found


def _sparse(texts: Sequence[str], idf: np.ndarray, weights: np.ndarray | None) -> tuple[torch.Tensor, np.ndarray]:
    """Return the weighted n-grams of texts, a row each, and the buckets that the columns are, those that hold any.

    Rows of weight w count w times in AᵀA.
    """
    rows, buckets, entries = [], [], []
    for counts in counted(texts):
        own = counts.owners + counts.texts.start
        rows.append(own)
        buckets.append(counts.buckets)
        entries.append(_weighted(counts, idf) * (1.0 if weights is None else np.sqrt(weights[own])))
    used, columns = np.unique(np.concatenate(buckets), return_inverse=True)
    A = torch.sparse_coo_tensor(
        torch.from_numpy(np.stack([np.concatenate(rows), columns])),
        torch.from_numpy(np.concatenate(entries)),
        (len(texts), len(used)),
        is_coalesced=True,
        check_invariants=False,
    )
    return A, used


def _times(A: torch.Tensor, dense: np.ndarray) -> np.ndarray:
    product: np.ndarray = torch.sparse.mm(A, torch.from_numpy(dense)).numpy()
    return product


def _words(code: TextCode, texts: Sequence[str], mean: np.ndarray) -> tuple[str, ...]:
    """Return for each direction the frequent words of texts that lie farthest along it."""
    holding = Counter(word for text in texts for word in set(_words_of(text)))
    shared = (word for word, count in holding.items() if count > 1)
    frequent = sorted(shared, key=lambda word: (-holding[word], word))[:MAX_WORDS]
    if not frequent:
        return ("",) * len(mean)
    farthest = np.argsort(mean - code.encode(frequent), axis=0, kind="stable")
    return tuple(" ".join(_unlike(frequent[place] for place in places)) for places in farthest.T.tolist())


def _unlike(words: Iterable[str]) -> list[str]:
    """Return the first words of which none is a piece of another."""
    chosen: list[str] = []
    for word in words:
        if len(chosen) == WORDS:
            break
        if not any(word in other or other in word for other in chosen):
            chosen.append(word)
    return chosen


def _words_of(text: str) -> Iterator[str]:
    words = (word.strip(".,;:!?\"'()[]{}<>«»„“”…-") for word in normalized(text).split())
    return (word for word in words if 0 < len(word) <= MAX_WORD_LENGTH)
