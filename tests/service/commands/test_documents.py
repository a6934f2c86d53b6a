import pytest

from service.commands.documents import read_class_weight, read_columns
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


def test_the_weight_of_a_class_stands_behind_the_last_equals_sign():
    assert read_class_weight(["fraud=20", "a=b= 0.5"]) == {"fraud": 20, "a=b": 0.5}
    assert read_class_weight(["balanced"]) == "balanced"
    assert read_class_weight([]) is None


@pytest.mark.parametrize("settings", [["fraud"], ["fraud="], ["fraud=much"], ["x=nan"], ["x=inf"], ["balanced", "x=1"]])
def test_a_class_without_a_weight_is_refused(settings):
    with pytest.raises(WrongSetting, match=r"must look like fraud=20, or be balanced, alone"):
        read_class_weight(settings)


def test_a_class_of_two_weights_is_refused():
    with pytest.raises(WrongSetting, match="'fraud' twice: 20 and 3"):
        read_class_weight(["fraud=20", "fraud=3"])
