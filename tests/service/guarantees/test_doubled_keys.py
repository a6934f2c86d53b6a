"""Of two equal keys of an object neither is silently the one that counts."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.contracts.json_text import parse_json

DOUBLED = {
    "plain": b'{"size": 1, "size": 2}',
    "the same value": b'{"size": 1, "size": 1}',
    "no white space": b'{"size":1,"size":2}',
    "white space before the colon": b'{"a" : 1, "size": 1, "size": 2}',
    "tabs and lines": b'{"a"\t:1,"b"\n:2,"size"\r\n:1,"size":2}',
    "escaped": b'{"size": 1, "\\u0073ize": 2}',
    "colons in texts": b'{"size": "a:b", "b": ":", "c": "\\":", "size": 2}',
    "braces in texts": b'{"a": "{{{{", "size": {}, "size": {}}',
    "deep": b'[[{"a": [{"b": {"size": 1, "size": 2}}]}]]',
    "after objects": b'[{}, {"a": {}}, {"size": 1, "size": 2}]',
    "half a character": b'{"a": "\\ud800", "size": 1, "size": 2}',
    "with a mark of order": '\ufeff{"size": 1, "size": 2}'.encode(),
}
JSON_VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text('a":{}\\ \n', max_size=4)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text('ab":{ ', max_size=2), inner, max_size=4)
    ),
    max_leaves=20,
)


@pytest.mark.parametrize("name", DOUBLED)
def test_a_key_that_is_there_twice_is_named(name):
    for text in (DOUBLED[name], DOUBLED[name].decode("utf-8-sig").encode("utf-16")):
        with pytest.raises(ValueError, match="the key 'size' is there twice"):
            parse_json(text)


@given(JSON_VALUES, st.sampled_from([None, 1]), st.sampled_from([(",", ":"), (", ", ": "), (",", " : "), (",", "\n:")]))
def test_what_has_each_key_once_is_read_as_it_is(value, indent, separators):
    text = json.dumps(value, indent=indent, separators=separators)
    assert parse_json(text.encode()) == json.loads(text)
    if '"' in text and isinstance(value, dict):
        key = json.dumps(next(iter(value)))
        with pytest.raises(ValueError, match="twice"):
            parse_json(f"{text[:-1]},{key}{separators[1]}0}}".encode())


def test_a_long_key_is_told_shortly():
    with pytest.raises(ValueError, match=r"a{80}' is there twice") as caught:
        parse_json(json.dumps({"a" * 90_000: 1}).encode()[:-1] + b', "' + b"a" * 90_000 + b'": 1}')
    assert len(str(caught.value)) < 200


PLACES = [
    ("POST", "/v1/jobs", "application/json", b'{"kind": "fit", "KEY": 1, "KEY": 2}'),
    ("POST", "/v1/jobs", "application/json", b'{"kind": "fit", "spec": {"KEY": 1, "KEY": 2}}'),
    ("PATCH", "/v1/models/prices", "application/json", b'{"KEY": "a", "KEY": "b"}'),
    ("POST", "/v1/batches", "application/json", b'[{"KEY": 1, "KEY": 2}]'),
    ("POST", "/v1/batches", "application/jsonl", b'{}\n{"KEY": 1, "KEY": 2}\n'),
    ("POST", "/v1/batches", "application/json", b'{"base": {}, "grid": {"KEY": [1], "KEY": [2]}}'),
    ("POST", "/v1/models/prices/predict", "application/json", b'{"rows": [{"size": 1, "KEY": 1, "KEY": 2}]}'),
    ("POST", "/v1/models/prices/predict", "application/json", b'{"KEY": [{"size": 1}], "KEY": []}'),
    ("POST", "/v1/models/prices/explain", "application/json", b'{"rows": [{"size": 1, "KEY": 1, "KEY": 2}]}'),
    ("POST", "/v2/models/prices/infer", "application/json", b'{"inputs": [{"KEY": 1, "KEY": 2}]}'),
]


@pytest.mark.parametrize(("method", "path", "kind", "body"), PLACES)
def test_a_request_that_names_something_twice_is_refused(client, model, method, path, kind, body):
    answer = client.request(method, path, content=body.replace(b"KEY", b"city"), headers={"Content-Type": kind})
    assert answer.status_code in (400, 422), answer.text
    assert "'city' is there twice" in answer.text


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b'{"columns": ["a"], "columns": ["b"], "rows": [[1], [2]]}', "the columns are there twice"),
        (b'{"columns": ["a"], "rows": [[1]], "columns": ["b"]}', "the columns are there twice"),
        (b'{"columns": ["a"], "rows": [[1]], "rows": [[2]]}', "the rows are there twice"),
        (b'{"columns": ["a"], "rows": [[1]], "data": [[2]]}', "the rows are there twice"),
    ],
)
def test_a_table_has_its_columns_and_its_rows_once(client, body, told):
    answer = client.post("/v1/datasets", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert told in answer.json()["detail"]
