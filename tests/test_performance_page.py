"""The page of measured results, compared with the stored results."""

from benchmarks.support import table


def test_the_page_is_generated_from_the_stored_results() -> None:
    assert table.PAGE.read_text() == table.page()
