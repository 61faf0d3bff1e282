"""The page of measured claims says what was kept."""

from benchmarks.support import table


def test_the_page_is_made_from_the_results() -> None:
    assert table.PAGE.read_text() == table.page()
