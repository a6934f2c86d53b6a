import pytest

from service.errors import NotAcceptable
from service.http.negotiation import choose

OFFERED = ("application/json", "text/csv", "image/png")


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        (None, "application/json"),
        ("", "application/json"),
        ("*/*", "application/json"),
        ("text/csv", "text/csv"),
        ("TEXT/CSV; charset=utf-8", "text/csv"),
        ("image/*", "image/png"),
        ("text/csv;q=0.5, image/png", "image/png"),
        ("*/*;q=0.1, text/csv;q=0.2", "text/csv"),
        ("application/json;q=0, */*", "text/csv"),
        ("text/html, */*;q=0.8", "application/json"),
    ],
)
def test_the_best_liked_form_is_chosen(accept, chosen):
    assert choose(accept, OFFERED) == chosen


@pytest.mark.parametrize("accept", ["text/html", "text/csv;q=0", "application/json;q=nonsense"])
def test_what_is_not_offered_is_refused_with_what_is(accept):
    with pytest.raises(NotAcceptable, match="text/csv"):
        choose(accept, OFFERED)
