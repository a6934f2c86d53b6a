"""What the API may take fits what its container may take."""

import pytest

from service.errors import WrongSetting
from service.runtime.memory import BASE_BYTES, POOLS, fit_to_limit, needed_bytes
from service.settings import ServiceSettings
from worker.settings import GIB


@pytest.mark.parametrize("limit", [None, 16 * GIB, needed_bytes(ServiceSettings())])
def test_defaults_stay_where_they_fit(limit):
    settings = ServiceSettings()
    assert fit_to_limit(settings, limit) is settings


@pytest.mark.parametrize("gib", [1.2, 2, 4, 8, 9.4])
def test_defaults_are_lowered_to_what_fits(gib):
    limit = int(gib * GIB)
    found = fit_to_limit(ServiceSettings(), limit)
    assert needed_bytes(found) <= limit
    assert needed_bytes(found) > 0.95 * limit, "nothing is given away"
    assert found.table_readers == ServiceSettings().table_readers


def test_what_is_set_is_kept_and_the_rest_is_lowered():
    found = fit_to_limit(ServiceSettings(table_reader_bytes=GIB // 2), 3 * GIB)
    assert found.table_reader_bytes == GIB // 2
    assert found.model_cache_bytes == (3 * GIB - BASE_BYTES) // 8
    found = fit_to_limit(ServiceSettings(model_cache_bytes=2 * GIB), 4 * GIB)
    assert found.model_cache_bytes == 2 * GIB
    assert found.table_reader_bytes == (4 * GIB - BASE_BYTES - 2 * GIB) // (POOLS * 2)


@pytest.mark.parametrize(
    ("given", "gib"), [({"table_reader_bytes": 2 * GIB}, 4), ({"model_cache_bytes": 4 * GIB}, 4), ({}, 0.75)]
)
def test_what_cannot_fit_is_refused_with_every_figure(given, gib):
    with pytest.raises(WrongSetting) as found:
        fit_to_limit(ServiceSettings(**given), int(gib * GIB))
    text = str(found.value)
    for name in ("FACTRFM_MODEL_CACHE_BYTES", "FACTRFM_TABLE_READERS", "FACTRFM_TABLE_READER_BYTES", f"{gib:.2f} GiB"):
        assert name in text


def test_tables_read_in_the_process_itself_take_no_readers():
    assert needed_bytes(ServiceSettings(table_readers=0)) == BASE_BYTES + GIB
