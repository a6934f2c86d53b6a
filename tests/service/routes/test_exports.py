import html
import json
import re
import sys

import numpy as np
import onnxruntime
import pyarrow as pa
from markdown_it import MarkdownIt

from worker.engine.model import load as load_engine
from worker.prediction import load

ROWS = {"rows": [{"size": 3, "city": "Bern"}, {"size": 5, "city": "Rome"}, {"size": None, "city": None}]}


def test_the_exported_file_answers_as_the_service_does(client, model, tmp_path):
    exported = client.get("/v1/models/prices/export")
    assert exported.headers["content-type"] == "application/vnd.safetensors"
    assert exported.headers["etag"] == f'"{model["sha256"]}"'
    (tmp_path / "prices.safetensors").write_bytes(exported.content)
    served = load(tmp_path / "prices.safetensors")
    expected = client.post("/v1/models/prices/predict", json=ROWS).json()["predictions"]
    table = pa.table({"size": [3, 5, None], "city": ["Bern", "Rome", None], "other": [1, 2, 3]})
    assert served.answer(table).predictions[:, 0].tolist() == expected
    X = served.fitted.X[:3]
    assert load_engine(tmp_path / "prices.safetensors").predict(X).tolist() == served.fitted.predict(X).tolist()


def test_onnx_is_chosen_by_format_or_accept_and_answers_as_the_service_does(client, model):
    answer = client.get("/v1/models/prices/export?format=onnx")
    assert answer.headers["content-type"] == "application/onnx"
    assert 'filename="prices-1.onnx"' in answer.headers["content-disposition"]
    accepted = client.get("/v1/models/prices/export", headers={"Accept": "application/onnx"})
    assert accepted.content == answer.content
    session = onnxruntime.InferenceSession(answer.content, providers=["CPUExecutionProvider"])
    fed = {"size": np.array([[3.0], [5.0], [np.nan]]), "city": np.array([["Bern"], ["Rome"], [""]], object)}
    expected = client.post("/v1/models/prices/predict", json=ROWS).json()["predictions"]
    np.testing.assert_allclose(session.run(["predict"], fed)[0], expected, rtol=1e-5)


def test_a_form_that_is_not_offered_is_refused(client, model):
    assert client.get("/v1/models/prices/export", headers={"Accept": "text/html"}).status_code == 406
    assert client.get("/v1/models/prices/export?format=pmml").status_code == 422
    both = client.get("/v1/models/prices/export?format=safetensors", headers={"Accept": "application/onnx"})
    assert both.headers["content-type"] == "application/vnd.safetensors"


def test_where_onnx_is_not_installed_it_is_said_how_to_get_it(client, model, monkeypatch):
    monkeypatch.setitem(sys.modules, "worker.serving.onnx.graph", None)
    answer = client.get("/v1/models/prices/export?format=onnx")
    assert (answer.status_code, answer.json()["code"]) == (422, "not_installed")
    assert "factrfm[onnx]" in answer.json()["detail"]


def test_the_card_tells_what_the_model_reads_answers_and_looks_at(client, model, dataset):
    client.patch("/v1/models/prices", json={"description": "Prices | of 2025", "tags": ["team=risk"]})
    text = client.get("/v1/models/prices/card").text
    sha256 = client.get(f"/v1/datasets/{dataset}").json()["sha256"]
    for words in (
        "# prices, version 1\n\nPrices \\| of 2025\n",
        "| validation_rmse, rows also chose |",
        "Validation rows also chose the exponent, the ridge and the iteration, so their figures are a little too good.",
        "| column | share of distance | share of trace |",
        "Tags: `team=risk`",
        f"sha256 `{sha256}`",
        f"factrfm {model['versions']['factrfm']}, torch {model['versions']['torch']}",
        "| size | numeric | 0 to 6, mean 2.875 | the mean of the training rows | taken as it is |",
        "| city | categorical | 3 values | as a category not seen | one category for all of them |",
        '| kernel | "generalized" |',
        "of the trace: size",
    ):
        assert words in text, words
    picture = re.search(r"^\[heatmap\]: data:image/png;base64,(\S+)$", text, re.M)
    assert picture is not None
    assert picture[1].startswith("iVBORw0KGgo")
    assert "][heatmap]" in text


def test_texts_of_callers_are_texts_in_the_card_too(client, run_job):
    hostile = "</td><script>alert(1)</script> [x](http://evil.example) a|b `c` **d**\n# e"
    table = {
        "columns": [hostile, "[heatmap]: http://evil.example", "kind | of", "kind"],
        "rows": [[n % 5, f"<img src=x>|{n % 3}", "ab"[n % 2], f"{'ab'[n % 2]}|<b>\n\n# no"] for n in range(30)],
    }
    upload = client.post("/v1/datasets?name=%3Cscript%3E%7Calert", json=table)
    assert upload.status_code == 201, upload.text
    for target in ("kind", hostile):
        body = {"kind": "fit", "dataset": upload.json()["id"], "target": target, "model": "hostile"}
        run_job(client.post("/v1/jobs", json={**body, "spec": {"iterations": 1, "encoding": "plain"}}).json()["id"])
        said = "<iframe> [a](javascript:alert(1)) `b`\n\n# c\n[heatmap]: http://evil.example"
        assert client.patch("/v1/models/hostile", json={"description": said}).status_code == 200
        text = client.get("/v1/models/hostile/card").text
        shown = MarkdownIt("commonmark", {"html": True}).enable("table").render(text)
        prose = re.sub(r"<pre>.*?</pre>", "", shown, flags=re.S)
        assert not re.search('<(script|img(?! src="data:)|iframe|b>)', prose)
        assert not re.search(r'<a href|src="http', prose)
        assert prose.count("<h1>") == 1
        assert prose.count('<img src="data:image/png;base64,iVBORw0KGgo') == 1
        assert "<iframe> [a](javascript:alert(1)) `b` # c [heatmap]: http://evil.example" in html.unescape(prose)
        cells = [len(re.findall("<td>", row)) for row in re.findall("<tr>.*?</tr>", prose, re.S)]
        assert set(cells) <= {0, 2, 3, 5}
        body = json.loads(re.search(r"<<'END'\n(.*?)\nEND\n", text, re.S)[1])
        assert body["target"] == target


def test_a_card_says_where_validation_rows_chose_nothing(client, dataset, run_job):
    spec = {"iterations": 0, "ridge": 0.1, "exponent": 1, "encoding": "plain"}
    for name, extra, words in (
        ("fixed", {}, "Validation rows chose nothing of this model."),
        ("alone", {"validation": None}, "No rows were held out for these figures."),
    ):
        body = {"kind": "fit", "dataset": dataset, "target": "price", "model": name, "spec": spec, **extra}
        run_job(client.post("/v1/jobs", json=body).json()["id"])
        assert words in client.get(f"/v1/models/{name}/card").text


def test_what_the_card_says_to_send_makes_the_same_model(client, model, run_job):
    text = client.get("/v1/models/prices/card").text
    body = json.loads(re.search(r"<<'END'\n(.*?)\nEND\n", text, re.S)[1])
    run_job(client.post("/v1/jobs", json=body).json()["id"])
    again = client.get("/v1/models/prices@2").json()
    assert again["metrics"] == model["metrics"]
    matrices = [client.get(f"/v1/models/prices@{version}/features/matrix").json()["matrix"] for version in (1, 2)]
    assert matrices[0] == matrices[1]


def test_a_card_outlives_dataset_and_job(client, model, dataset):
    assert client.delete(f"/v1/jobs/{model['job']}").status_code == 204
    assert client.delete(f"/v1/datasets/{dataset}").status_code == 204
    text = client.get("/v1/models/prices/card").text
    assert f"`{dataset}`, which was deleted" in text
    assert "upload it again" in text
    assert "The job was deleted" in text
