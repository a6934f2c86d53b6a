import pytest
import torch

from worker.engine.blocks.machines import at_most
from worker.engine.blocks.split import grow
from worker.engine.blocks.tree import assign
from worker.runs.blocks import row_files
from worker.runs.blocks.row_files import Columns, LeafRows, RowFile

D = 4


def _rows(n=4000, seed=0):
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(n, D + 4, generator=generator, dtype=torch.float64)
    rows[:, D] = torch.arange(n)
    rows[:, -3] = torch.arange(n)
    rows[:, -2] = torch.arange(n) % 3 - 1
    rows[:, -1] = torch.arange(n) % 5 == 0
    return rows


def _file(tmp_path, rows):
    file = RowFile(tmp_path / "rows", rows.shape[1])
    for batch in torch.split(rows, 700):
        file.append(batch.numpy())
    return file


@pytest.mark.parametrize("batch", [1, 999, 4000, None])
def test_rows_come_as_they_were_written(tmp_path, batch):
    rows = _rows()
    file = _file(tmp_path, rows)
    assert torch.equal(torch.cat(list(file.batches(batch))), rows)
    assert torch.equal(file.read(), rows)
    assert file.bytes == (tmp_path / "rows").stat().st_size
    columns = Columns(D, 1)
    assert torch.equal(columns.Y(rows)[:, 0], torch.arange(4000).double())
    assert columns.numbers(rows[:3]).tolist() == [0, 1, 2]
    assert columns.own(rows[:3]).tolist() == [-1, 0, 1]
    assert columns.held_out(rows[:6]).tolist() == [True, False, False, False, False, True]
    assert torch.equal(columns.X(rows), rows[:, :D])
    parts = (columns.X(rows), columns.Y(rows), columns.numbers(rows), columns.own(rows), columns.held_out(rows))
    assert torch.equal(columns.packed(*parts), rows)


@pytest.mark.parametrize("region_bytes", [10**9, 100_000, 20_000])
@pytest.mark.parametrize(
    "M", [torch.eye(D).double(), torch.tensor([3.0, 1.0, 0.5, 0.1]).double()], ids=["full", "diag"]
)
def test_leaves_have_the_rows_that_a_tree_in_memory_gives_them(tmp_path, region_bytes, M):
    rows, columns = _rows(), Columns(D, 1)
    grown = LeafRows(columns, M, 300, 0.1, region_bytes=region_bytes)
    by_leaf = dict(grown.leaves(_file(tmp_path, rows), tmp_path))
    assert sorted(by_leaf) == list(range(grown.tree.leaves))
    assert list(tmp_path.iterdir()) == []
    assert 13 < grown.tree.leaves < 40
    X = columns.X(rows)
    assignment = assign(grown.tree, X)
    for leaf, own in by_leaf.items():
        all_of_it = rows[assignment.of(leaf)]
        held_out = columns.held_out(all_of_it)
        assert torch.equal(torch.cat([all_of_it[~held_out], all_of_it[held_out]]), own)
        assert int((~columns.held_out(own)).sum()) <= 300
    training = rows[~columns.held_out(rows)]
    if region_bytes == 10**9:
        whole, _ = grow(columns.X(training), M, 300)
        assert torch.equal(whole.directions, grown.tree.directions)
        assert torch.equal(whole.children, grown.tree.children)


@pytest.mark.parametrize(("overlap", "times"), [(0.0, 2.0), (0.1, 2.5), (0.25, 3.5)])
def test_regions_take_some_times_the_room_of_the_rows_however_many_there_are(tmp_path, monkeypatch, overlap, times):
    monkeypatch.setattr(row_files, "SAMPLE_ROWS", 5)
    columns = Columns(D, 1)
    file = _file(tmp_path, _rows(20_000))
    room, append = [file.bytes], RowFile.append

    def watched(self, rows):
        append(self, rows)
        room.append(sum(path.stat().st_size for path in tmp_path.iterdir()))

    monkeypatch.setattr(RowFile, "append", watched)
    grown = LeafRows(columns, torch.eye(D).double(), 100, overlap, region_bytes=30_000)
    assert len(list(grown.leaves(file, tmp_path))) > 100
    assert times - 0.3 < max(room) / room[0] <= times


def test_few_rows_apart_from_one_point_are_lost_only_where_a_sample_sees_that_point_alone(tmp_path):
    rows, columns = _rows(), Columns(D, 1)
    rows[200:, :D] = 1.0
    rows[:, -1] = 0
    grown = LeafRows(columns, torch.eye(D).double(), 300, 0.1, region_bytes=20_000)
    by_leaf = dict(grown.leaves(_file(tmp_path, rows), tmp_path))
    assert sorted(by_leaf) == list(range(grown.tree.leaves))
    assert all(len(own) <= 300 for own in by_leaf.values())
    found = {number for own in by_leaf.values() for number in columns.numbers(own).tolist()}
    assert len(found & set(range(200))) > 180


@pytest.mark.parametrize("region_bytes", [10**9, 1000])
def test_rows_that_cannot_be_told_apart_are_one_leaf_that_draws_from_all_of_them(tmp_path, region_bytes):
    rows, columns = _rows(), Columns(D, 1)
    rows[:, :D] = 1.0
    grown = LeafRows(columns, torch.eye(D).double(), 300, 0.1, seed=3, region_bytes=region_bytes)
    [(leaf, own)] = grown.leaves(_file(tmp_path, rows), tmp_path)
    assert (leaf, grown.tree.leaves) == (0, 1)
    held_out = columns.held_out(rows)
    expected = [at_most(torch.nonzero(which).squeeze(1), 300, 3) for which in (~held_out, held_out)]
    assert torch.equal(own, rows[torch.cat(expected)])


@pytest.mark.parametrize("region_bytes", [10**9, 4000])
def test_few_rows_that_train_are_one_leaf_however_many_are_held_out(tmp_path, region_bytes):
    rows, columns = _rows(), Columns(D, 1)
    rows[:, -1] = torch.arange(4000) >= 120
    grown = LeafRows(columns, torch.eye(D).double(), 120, 0.1, region_bytes=region_bytes)
    [(_, own)] = grown.leaves(_file(tmp_path, rows), tmp_path)
    assert grown.tree.leaves == 1
    assert torch.equal(own[:120], rows[:120])
    assert len(own) == 240
