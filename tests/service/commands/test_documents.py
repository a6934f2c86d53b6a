import pytest

from service.commands.documents import read_columns
from service.errors import WrongSetting


def test_the_type_of_a_column_stands_behind_the_last_equals_sign():
    assert read_columns(["zip=categorical", "a=b= ignore"]) == {"zip": "categorical", "a=b": "ignore"}


@pytest.mark.parametrize("setting", ["zip", "=numeric", "zip=", "zip= "])
def test_a_column_without_a_name_or_a_type_is_refused(setting):
    with pytest.raises(WrongSetting, match="must look like zip=categorical"):
        read_columns([setting])


def test_a_column_of_two_types_is_refused():
    with pytest.raises(WrongSetting, match="'zip' twice: as numeric and as ignore"):
        read_columns(["zip=numeric", "zip=ignore"])
