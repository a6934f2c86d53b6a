"""Data frames on their way to the API: uploaded as a table, and as rows to predict in several forms."""

import io
import json
from typing import Any

import pandas as pd
from starlette.testclient import TestClient


def upload_frame(client: TestClient, frame: pd.DataFrame, **query: Any) -> Any:
    """Upload a frame as CSV and return the new dataset."""
    content = frame.to_csv(index=False)
    answer = client.post("/v1/datasets", params=query, content=content, headers={"Content-Type": "text/csv"})
    assert answer.status_code == 201, answer.text
    return answer.json()


def predict_frame(client: TestClient, model: str, frame: pd.DataFrame, form: str) -> Any:
    """Return what the API answers to rows as JSON records, as CSV, or else as Parquet. ``form``: a media type."""
    if form == "application/json":
        content = json.dumps({"rows": frame.astype(object).to_dict("records")}).encode()
    elif form == "text/csv":
        content = frame.to_csv(index=False).encode()
    else:
        body = io.BytesIO()
        frame.to_parquet(body, index=False)
        content = body.getvalue()
    return client.post(f"/v1/models/{model}/predict", content=content, headers={"Content-Type": form})
