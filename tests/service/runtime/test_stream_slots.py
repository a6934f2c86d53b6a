import pytest

from service.errors import TooManyFollowers
from service.runtime.stream_slots import StreamSlots


def test_a_project_that_follows_much_leaves_places_to_others_and_gets_its_own_back() -> None:
    slots = StreamSlots(most=3, most_of_project=2)
    with slots.hold("a"), slots.hold("a"):
        with pytest.raises(TooManyFollowers), slots.hold("a"):
            pass
        with slots.hold("b"), pytest.raises(TooManyFollowers), slots.hold("c"):
            pass
        with slots.hold("c"):
            pass
    with slots.hold("a"), slots.hold("a"):
        pass
