"""The page /docs: Swagger UI, served without external resources."""

from importlib.resources import files

from fastapi import APIRouter
from fastapi.responses import FileResponse, HTMLResponse

router = APIRouter(prefix="/docs", include_in_schema=False)

FILES = {
    "swagger-ui.css": ("fastapi_offline", "static/swagger-ui.css"),
    "swagger-ui-bundle.js": ("fastapi_offline", "static/swagger-ui-bundle.js"),
    "start.js": ("service.openapi", "reference.js"),
}
"""Name → package and file. fastapi_offline is used only for its copy of Swagger UI."""
KEPT_SECONDS = 3600
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>FACT-RFM: every call</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="reference"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""


@router.get("")
def show_page() -> HTMLResponse:
    """Show the reference."""
    return HTMLResponse(PAGE)


def _add_file(name: str) -> None:
    package, place = FILES[name]
    path = files(package) / place
    kind = "text/css" if name.endswith(".css") else "text/javascript"

    @router.get(f"/{name}")
    def get_file() -> FileResponse:
        return FileResponse(str(path), media_type=kind, headers={"Cache-Control": f"max-age={KEPT_SECONDS}"})


for file_name in FILES:
    _add_file(file_name)
