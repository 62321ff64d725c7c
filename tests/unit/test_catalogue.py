"""The catalogue of faults says something true of every fault."""

from __future__ import annotations

import ast
import re

import pytest

from catalogue import GROUPS, MARK, ROWS, TESTS, Row, fault_numbers, marked_tests, print_catalogue

each_row = pytest.mark.parametrize("row", ROWS, ids=lambda row: str(row.number))


def test_numbers_are_in_order_and_once_each() -> None:
    """1 to 102, in the rows, in the groups, and in the tests' marks."""
    expected = list(range(1, 103))
    assert [row.number for row in ROWS] == expected
    assert [number for _title, numbers in GROUPS.values() for number in numbers] == expected
    assert list(GROUPS) == list("ABCDEFGH")
    assert set(marked_tests()) <= set(expected)


def test_marks_are_read_in_their_order() -> None:
    """Other decorators carry no numbers, and a test may have several marks."""
    source = "@pytest.mark.fault(18, 9)\n@other(7)\n@pytest.fixture\n@pytest.mark.fault(3)\ndef test_it(): ..."
    (test,) = ast.parse(source).body
    assert isinstance(test, ast.FunctionDef)
    assert fault_numbers(test) == [18, 9, 3]


def test_every_mark_is_in_the_catalogue() -> None:
    """None stands where the catalogue does not look: on a class, a module or a parameter, or under another name."""
    marks = 0
    for file in TESTS.rglob("*.py"):
        nodes = ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        attributes = [node for node in nodes if isinstance(node, ast.Attribute) and node.attr == "fault"]
        assert {ast.unparse(node) for node in attributes} <= {MARK}, file
        marks += len(attributes)
    assert marks == len({test for tests in marked_tests().values() for test in tests})


@each_row
def test_row_has_tests_or_a_reason(row: Row) -> None:
    """What is missing is a sentence of its kind."""
    assert row.text and (row.reason or marked_tests()[row.number])
    assert not row.reason or re.fullmatch(r"(open|cannot): \S.*\.", row.reason)


def test_printed_catalogue_has_a_line_for_each(capsys: pytest.CaptureFixture[str]) -> None:
    """With number, mark and text, its tests, all groups, and counts that add up."""
    print_catalogue()
    printed = capsys.readouterr().out.splitlines()
    tests = marked_tests()
    for row in ROWS:
        at = printed.index(f"{row.number:5} {row.mark(tests[row.number]):8} {row.text}")
        assert [line.strip() for line in printed[at + 1 :][: len(tests[row.number])]] == tests[row.number]
    for letter, (title, _numbers) in GROUPS.items():
        assert f"{letter}. {title}" in printed
    total, *counts = map(int, re.findall(r"\d+", printed[-1]))
    assert total == sum(counts) == len(ROWS)
