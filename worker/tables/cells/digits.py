"""Numbers digit by digit, for columns of more digits than float64 holds."""

import pyarrow as pa
import pyarrow.compute as pc

from worker.tables import values


def digits_of(column: pa.Array) -> pa.Array:
    """Return integers as texts of digits without a plus sign, which Arrow cannot read.

    Missing values are null; other texts stay unchanged.
    """
    texts = _written(column)
    plain = pc.match_substring_regex(texts, values.INTEGERS).fill_null(True)
    if not pc.all(plain, min_count=0).as_py():
        coded = texts.dictionary_encode()
        spelled = [values.whole_digits(text) or text for text in coded.dictionary.to_pylist()]
        texts = pc.if_else(plain, texts, pa.array(spelled, pa.string()).take(coded.indices))
    return pc.replace_substring_regex(texts, r"^\+([0-9])", r"\1")


def not_digits(column: pa.Array) -> list[str]:
    """Return the distinct numbers that are not written digit by digit."""
    texts = _written(column)
    numbers: list[str] = texts.filter(pc.invert(pc.match_substring_regex(texts, values.INTEGERS))).unique().to_pylist()
    return [text for text in numbers if text is not None]


def _written(column: pa.Array) -> pa.Array:
    return values.without_missing(values.decoded(column).cast(pa.string()))


def is_rounded(numbers: pa.Array) -> bool:
    """Return whether float64 cannot tell one of the numbers from its neighbours."""
    floats = numbers if pa.types.is_floating(numbers.type) else numbers.cast(pa.float64(), safe=False)
    most = pc.max(pc.abs(floats)).as_py()
    return most is not None and bool(most >= values.EXACT_INTEGERS)
