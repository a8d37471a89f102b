"""What people read of how far work is."""

import pytest

from geotrans.runtime.progress import format_duration, show_nothing


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.2, "1 s"),
        (60, "1 min 0 s"),
        (62.5, "1 min 3 s"),
        (3599.5, "1 h 0 min"),
        (7530, "2 h 5 min"),
    ],
)
def test_a_duration_is_in_the_units_people_use(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


def test_work_that_nobody_watches_counts_all_the_same() -> None:
    with show_nothing("translating", 2) as advance:
        assert advance(1) is None
