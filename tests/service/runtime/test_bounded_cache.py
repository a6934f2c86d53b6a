from service.runtime.bounded_cache import BoundedCache


def test_the_least_recently_used_go_until_all_fit_and_what_fits_at_all_is_made_once():
    cache, made = BoundedCache(10), []

    def get(key, size=4):
        return cache.get(key, lambda: made.append(key) or f"value of {key}", lambda value: size)

    assert [get(key) for key in "aabba"] == [f"value of {key}" for key in "aabba"]
    assert made == ["a", "b"]
    get("c")
    get("a")
    assert made == ["a", "b", "c"], "b was used least recently"
    get("b")
    assert made == ["a", "b", "c", "b"]
    assert cache.nbytes == 8


def test_what_is_too_large_is_made_each_time_and_drives_nothing_out():
    cache, made = BoundedCache(10), []
    cache.get("small", lambda: made.append("small"), lambda value: 10)
    for _ in range(2):
        cache.get("large", lambda: made.append("large"), lambda value: 11)
    cache.get("small", lambda: made.append("small"), lambda value: 10)
    assert made == ["small", "large", "large"]


def test_what_cannot_be_made_is_not_kept():
    cache = BoundedCache(10)

    def fail():
        raise LookupError("none")

    for _ in range(2):
        try:
            cache.get("a", fail, len)
        except LookupError:
            continue
        raise AssertionError("an error was kept as a value")
    assert cache.get("a", lambda: "there", len) == "there"
