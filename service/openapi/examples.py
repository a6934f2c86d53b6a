"""Examples for the schemas of the OpenAPI document."""

from typing import Any

_DATASET = "ds_01jd0000000000000000000000"
_JOB = "job_01jd0000000000000000000001"
_MODEL = "mdl_01jd0000000000000000000002"
_AT = "2026-11-20T09:30:00.000Z"

EXAMPLES: dict[str, dict[str, Any]] = {
    "Dataset": {
        "id": _DATASET,
        "name": "houses.csv",
        "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "bytes": 4711,
        "media_type": "text/csv",
        "rows": 120,
        "columns": [
            {
                "name": "rooms",
                "type": "numeric",
                "missing": 0,
                "distinct": 7,
                "min": 1,
                "mean": 3.5,
                "std": 1.2,
                "max": 8,
            },
            {
                "name": "city",
                "type": "categorical",
                "missing": 2,
                "distinct": 2,
                "top": [{"value": "Bern", "count": 70}],
            },
        ],
        "created_at": _AT,
    },
    "Upload": {
        "id": "upl_01jd0000000000000000000005",
        "state": "open",
        "filename": "houses.parquet",
        "media_type": "application/vnd.apache.parquet",
        "encoding": None,
        "bytes": 40_000_000,
        "sha256": None,
        "name": None,
        "header": None,
        "missing": None,
        "part_bytes": 16_777_216,
        "total_parts": 3,
        "parts": [
            {
                "number": 1,
                "bytes": 16_777_216,
                "sha256": "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae",
            }
        ],
        "dataset": None,
        "created_at": _AT,
        "expires_at": "2026-11-21T09:30:00.000Z",
    },
    "DatasetRows": {"columns": ["rooms", "city"], "rows": [[3, "Bern"], [5, None]]},
    "Job": {
        "id": _JOB,
        "kind": "fit",
        "state": "running",
        "attempt": 1,
        "progress": {"iteration": 3, "iterations": 5, "fraction": 0.6, "stage": "fit", "eta_seconds": 2.5},
        "metrics": {"validation_rmse": 41.7},
        "dataset": _DATASET,
        "request": {"kind": "fit", "dataset": _DATASET, "target": "price", "model": "house-prices"},
        "estimate": {"bytes": 1_200_000, "flops": 4.2e8, "seconds": 0.6},
        "created_at": _AT,
        "started_at": _AT,
    },
    "Batch": {
        "id": "bat_01jd0000000000000000000003",
        "counts": {"queued": 1, "succeeded": 1},
        "total": 2,
        "jobs": [f"/v1/jobs/{_JOB}", "/v1/jobs/job_01jd0000000000000000000004"],
        "created_at": _AT,
    },
    "Features": {
        "model": _MODEL,
        "iteration": 4,
        "features_learned": True,
        "importance": [
            {"feature": "rooms", "share": 0.94, "trace_share": 0.8},
            {"feature": "city", "share": 0.06, "trace_share": 0.2},
        ],
        "encoded_importance": [
            {"feature": "rooms", "share": 0.94, "trace_share": 0.8},
            {"feature": "city=Bern", "share": 0.06, "trace_share": 0.2},
        ],
        "eigenvalues": [1.6, 0.4],
        "effective_rank": 1.65,
        "directions": [{"eigenvalue": 1.6, "loadings": [{"feature": "rooms", "weight": 0.99}]}],
    },
    "Leaf": {
        "leaf": 3,
        "rows": 4021,
        "rule": [
            {
                "cut": 0,
                "side": "below",
                "summary": "low rooms, city ≠ Bern",
                "threshold": -0.12,
                "share": 0.97,
                "columns": [
                    {"feature": "rooms", "share": 0.81, "weights": [{"feature": "rooms", "weight": 1.1}]},
                    {"feature": "city", "share": 0.16, "weights": [{"feature": "city=Bern", "weight": 1.0}]},
                ],
            }
        ],
        "ridge": 0.01,
        "metrics": {"leave_one_out_loss": 0.16, "leave_one_out_rmse": 41.7},
    },
    "Explanations": {
        "model": _MODEL,
        "targets": ["price"],
        "items": [
            {
                "prediction": 512.5,
                "neighbours": [
                    {
                        "row": 17,
                        "dataset": _DATASET,
                        "distance": 0.31,
                        "weight": 0.93,
                        "values": {"rooms": 4, "city": "Bern"},
                        "targets": [498.0],
                    }
                ],
                "sensitivity": [
                    {"feature": "rooms", "type": "numeric", "change": [61.2], "step": 1.2},
                    {"feature": "city", "type": "categorical", "change": [-20.5], "to": "Chur"},
                ],
            }
        ],
    },
    "Predictions": {"predictions": ["a", "b"], "classes": ["a", "b"], "probabilities": [[0.9, 0.1], [0.2, 0.8]]},
    "Problem": {
        "type": "about:blank",
        "title": "Unprocessable Entity",
        "status": 422,
        "detail": "/spec/ridge: Input should be greater than or equal to 0; got -1",
        "instance": "/v1/jobs",
        "code": "invalid_request",
        "error": "/spec/ridge: Input should be greater than or equal to 0; got -1",
        "errors": [{"pointer": "/spec/ridge", "message": "Input should be greater than or equal to 0; got -1"}],
    },
}
