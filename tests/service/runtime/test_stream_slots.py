import pytest

from service.errors import TooManyFollowers
from service.runtime.stream_slots import Followers


def test_a_project_that_follows_much_leaves_places_to_others_and_gets_its_own_back() -> None:
    followers = Followers(most=3, most_of_project=2)
    with followers.place("a"), followers.place("a"):
        with pytest.raises(TooManyFollowers), followers.place("a"):
            pass
        with followers.place("b"), pytest.raises(TooManyFollowers), followers.place("c"):
            pass
        with followers.place("c"):
            pass
    with followers.place("a"), followers.place("a"):
        pass
