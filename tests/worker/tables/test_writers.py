import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.ipc
import pyarrow.parquet as pq
import pytest

from worker.contracts.resources import ModelColumn
from worker.tables import media
from worker.tables.writers import MEDIA_TYPES, PredictionWriter

READERS = {
    "parquet": pq.read_table,
    "csv": pa_csv.read_csv,
    "arrow": lambda path: pa.ipc.open_file(str(path)).read_all(),
}
FORMS = list(READERS)


@pytest.mark.parametrize("form", FORMS)
def test_outputs_of_several_blocks_come_back_to_the_last_bit(tmp_path, form):
    targets = [ModelColumn(name=name, type="numeric") for name in ("price", "a,b")]
    Y = np.random.default_rng(0).normal(size=(50, 2)) * [1e-7, 1e12]
    with PredictionWriter(tmp_path / "out", form, targets, None) as writer:
        for block in (Y[:20], Y[20:21], Y[21:]):
            writer.write(block, None)
    table = READERS[form](tmp_path / "out")
    assert table.column_names == ["price", "a,b"]
    assert np.array_equal(np.column_stack([column.to_numpy() for column in table.columns]), Y)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("classes", [[False, True], [0, 1, 7], [0.5, 1.5], ["no", 'a "quoted", text']])
def test_labels_keep_their_type_and_come_with_a_probability_a_class(tmp_path, form, classes):
    labels = np.empty(len(classes), dtype=object)
    labels[:] = classes
    probabilities = np.eye(len(classes)) * 0.5 + 0.5 / len(classes)
    target = ModelColumn(name="y", type="categorical")
    with PredictionWriter(tmp_path / "out", form, [target], classes) as writer:
        writer.write(labels[:1], probabilities[:1])
        writer.write(labels[1:], probabilities[1:])
    table = READERS[form](tmp_path / "out")
    written = [str(label).lower() if isinstance(label, bool) else str(label) for label in classes]
    assert table.column_names == ["y", *(f"probability:{label}" for label in written)]
    assert table.column("y").to_pylist() == classes
    assert {type(label) for label in table.column("y").to_pylist()} == {type(classes[0])}
    assert np.array_equal(np.column_stack([column.to_numpy() for column in table.columns[1:]]), probabilities)


@pytest.mark.parametrize("form", FORMS)
def test_a_file_is_what_its_media_type_says(tmp_path, form):
    with PredictionWriter(tmp_path / "out", form, [ModelColumn(name="y", type="numeric")], None) as writer:
        writer.write(np.ones((3, 1)), None)
    kind = media.sniff((tmp_path / "out").read_bytes()[:64])
    assert kind == (None if form == "csv" else MEDIA_TYPES[form])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("classes", [None, ["a", "b"]])
def test_no_rows_are_a_file_with_a_header(tmp_path, form, classes):
    target = ModelColumn(name="y", type="numeric" if classes is None else "categorical")
    with PredictionWriter(tmp_path / "out", form, [target], classes):
        pass
    table = READERS[form](tmp_path / "out")
    assert table.num_rows == 0
    assert table.column_names == (["y"] if classes is None else ["y", "probability:a", "probability:b"])
