"""Links between operations in the OpenAPI document."""

from typing import Any

OF_DATASET = ("get_dataset", "get_rows", "get_content", "delete_dataset")
OF_UPLOAD = ("get_upload", "complete_upload", "delete_upload")
OF_JOB = ("get_job", "get_events", "cancel_job", "retry_job", "get_parts", "get_trials", "get_result", "delete_job")
OF_BATCH = ("get_batch", "cancel_batch")
OF_MODEL = (
    "get_model",
    "change_model",
    "compare_models",
    "predict",
    "explain",
    "get_features",
    "get_matrix",
    "get_history",
    "get_leaves",
    "export_model",
    "get_card",
    "delete_model",
)
LINKS = (
    # source operation, its statuses, pointer to the value, parameter, target operations
    ("upload_dataset", ("200", "201"), "/id", "dataset_id", OF_DATASET),
    ("list_datasets", ("200",), "/items/0/id", "dataset_id", OF_DATASET),
    ("create_upload", ("201",), "/id", "upload_id", OF_UPLOAD),
    ("complete_upload", ("200", "201"), "/id", "dataset_id", OF_DATASET),
    ("create_job", ("202",), "/id", "job_id", OF_JOB),
    ("list_jobs", ("200",), "/items/0/id", "job_id", OF_JOB),
    ("get_job", ("200",), "/dataset", "dataset_id", ("get_dataset",)),
    ("get_job", ("200",), "/model", "ref", OF_MODEL),
    ("create_batch", ("202",), "/id", "batch_id", OF_BATCH),
    ("list_models", ("200",), "/items/0/id", "ref", OF_MODEL),
)


def add_links(paths: dict[str, dict[str, Any]]) -> None:
    """Add the links to the operations of a document."""
    operations = {operation["operationId"]: operation for calls in paths.values() for operation in calls.values()}
    for source, statuses, place, parameter, targets in LINKS:
        for status in statuses:
            links = operations[source]["responses"][status].setdefault("links", {})
            for target in targets:
                links[target] = {
                    "operationId": target,
                    "parameters": {parameter: f"$response.body#{place}"},
                    "description": operations[target]["summary"],
                }
