"""The catalogue of faults says something true of every fault."""

from __future__ import annotations

import re

import pytest

from catalogue import GROUPS, ROWS, Row, numbered_tests, print_catalogue

each_row = pytest.mark.parametrize("row", ROWS, ids=lambda row: str(row.number))


def test_numbers_are_in_order_and_once_each() -> None:
    """1 to 102, in the rows, in the groups, and in the tests' names."""
    expected = list(range(1, 103))
    assert [row.number for row in ROWS] == expected
    assert [number for _title, numbers in GROUPS.values() for number in numbers] == expected
    assert list(GROUPS) == list("ABCDEFGH")
    assert set(numbered_tests()) <= set(expected)


@each_row
def test_row_has_tests_or_a_reason(row: Row) -> None:
    """What is missing is a sentence of its kind."""
    assert row.text and (row.reason or numbered_tests()[row.number])
    assert not row.reason or re.fullmatch(r"(open|cannot): \S.*\.", row.reason)


def test_printed_catalogue_has_a_line_for_each(capsys: pytest.CaptureFixture[str]) -> None:
    """With number, mark and text, its tests, all groups, and counts that add up."""
    print_catalogue()
    printed = capsys.readouterr().out.splitlines()
    tests = numbered_tests()
    for row in ROWS:
        at = printed.index(f"{row.number:5} {row.mark(tests[row.number]):8} {row.text}")
        assert [line.strip() for line in printed[at + 1 :][: len(tests[row.number])]] == tests[row.number]
    for letter, (title, _numbers) in GROUPS.items():
        assert f"{letter}. {title}" in printed
    total, *counts = map(int, re.findall(r"\d+", printed[-1]))
    assert total == sum(counts) == len(ROWS)
