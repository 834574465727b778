"""What is told about a file that is no good, and where."""

from __future__ import annotations

from pathlib import Path

import pytest

from ramp_database.config_file import ConfigFile, read
from ramp_database.errors import ConfigError, ConfigErrors


def write(directory: Path, content: str | bytes) -> Path:
    path = directory / "config.yml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def problem(directory: Path, content: str | bytes) -> ConfigError:
    with pytest.raises(ConfigErrors) as caught:
        read(write(directory, content))
    (error,) = caught.value.errors
    return error


def only(file: ConfigFile) -> ConfigError:
    (error,) = file.problems
    return error


def test_values_keep_their_place(tmp_path: Path) -> None:
    file = read(write(tmp_path, "a:\n  b: 1\n  c:\n    - x: yes\n    - two\n"))
    assert file.data == {"a": {"b": 1, "c": [{"x": True}, "two"]}}
    assert {place.key: place.line for place in file.places.values()} == {
        "a": 1,
        "a.b": 2,
        "a.c": 3,
        "a.c[0]": 4,
        "a.c[0].x": 4,
        "a.c[1]": 5,
    }


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigErrors, match=r"none\.yml: expected a config file, found none"):
        read(tmp_path / "none.yml")


def test_a_folder_in_place_of_a_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigErrors, match="expected a file that can be read, found an error: Is"):
        read(tmp_path)


@pytest.mark.parametrize("content", ["", "# only a comment\n", "---\n", "~\n", " \n"])
def test_an_empty_file_is_told(tmp_path: Path, content: str) -> None:
    assert "empty file" in str(problem(tmp_path, content)) or content == "~\n"


@pytest.mark.parametrize(("content", "found"), [("- a\n", "a list"), ("hello\n", "a single value")])
def test_a_file_without_sections_is_told(tmp_path: Path, content: str, found: str) -> None:
    error = problem(tmp_path, content)
    assert (error.expected, error.found, error.line) == ("sections of keys", found, 1)


def test_bytes_that_are_not_utf8_are_told_with_their_line(tmp_path: Path) -> None:
    error = problem(tmp_path, b"a: 1\nb: \xff\n")
    assert (error.line, error.found) == (2, "the byte 0xff")


def test_a_byte_order_mark_is_no_problem(tmp_path: Path) -> None:
    assert read(write(tmp_path, b"\xef\xbb\xbfa: 1\n")).data == {"a": 1}


def test_a_nul_is_told_with_its_line(tmp_path: Path) -> None:
    error = problem(tmp_path, b"a: 1\nb: x\x00y\n")
    assert (error.line, error.found) == (2, "the character U+0000")


def test_a_tab_is_told_as_such(tmp_path: Path) -> None:
    error = problem(tmp_path, "a:\n\tb: 1\n")
    assert (error.expected, error.found, error.line) == ("spaces for indentation", "a tab", 2)


def test_a_quote_that_is_not_closed_is_told_where_it_opens(tmp_path: Path) -> None:
    error = problem(tmp_path, "a: 1\nb: 'x\nc: 2\nd: 3\n")
    assert error.line == 2


def test_a_syntax_error_keeps_the_line_of_a_secret_out_of_the_traceback(tmp_path: Path) -> None:
    with pytest.raises(ConfigErrors) as caught:
        read(write(tmp_path, 'a: 1\npassword: "hunter2" x\n'))
    assert caught.value.errors[0].line == 2
    assert "hunter2" not in str(caught.value) + str(caught.value.__cause__)


def test_two_documents_are_told(tmp_path: Path) -> None:
    assert "document" in problem(tmp_path, "a: 1\n---\nb: 1\n").expected


def test_a_key_given_twice_is_told_with_both_lines(tmp_path: Path) -> None:
    error = only(read(write(tmp_path, "a:\n  b: 1\n  c: 2\n  b: 3\n")))
    assert (error.key, error.line, error.found) == ("a.b", 4, "it in line 2 as well")


def test_keys_that_yaml_takes_for_booleans_stay_names(tmp_path: Path) -> None:
    assert read(write(tmp_path, "on: 1\nno: 2\n")).data == {"on": 1, "no": 2}


def test_other_keys_of_sections_are_names_too(tmp_path: Path) -> None:
    data = read(write(tmp_path, "1:\n  2026-01-01:\n    22: x\n")).data
    assert data == {"1": {"2026-01-01": {22: "x"}}}


def test_levels_without_end_are_told(tmp_path: Path) -> None:
    error = problem(tmp_path, "a: " + "[" * 3000 + "]" * 3000)
    assert error.expected == "fewer levels within each other"


def test_a_merge_of_no_section_is_told(tmp_path: Path) -> None:
    assert only(read(write(tmp_path, "a:\n  <<: 3\n"))).found == "something else"


def test_a_list_as_key_is_told(tmp_path: Path) -> None:
    assert only(read(write(tmp_path, "? [a, b]\n: 1\nc: 2\n"))).expected == "a name as key"


@pytest.mark.parametrize("content", ["a: !!python/object:os.system x\n", "a: !secret x\n"])
def test_a_tag_that_is_not_plain_is_told_and_nothing_is_made_of_it(
    tmp_path: Path, content: str
) -> None:
    error = only(read(write(tmp_path, content)))
    assert (error.key, error.line) == ("a", 1)


def test_a_date_that_does_not_exist_is_told(tmp_path: Path) -> None:
    error = only(read(write(tmp_path, "a: 2026-13-45\n")))
    assert error.expected == "a value that can be read as timestamp"
    assert error.found == "2026-13-45"


def test_anchors_and_merges_work(tmp_path: Path) -> None:
    file = read(write(tmp_path, "a: &a {x: 1, y: 2}\nb:\n  <<: *a\n  y: 3\nc: *a\n"))
    assert file.data == {"a": {"x": 1, "y": 2}, "b": {"x": 1, "y": 3}, "c": {"x": 1, "y": 2}}
    assert not file.problems


def test_a_section_within_itself_is_told(tmp_path: Path) -> None:
    error = only(read(write(tmp_path, "a: &a\n  b: *a\n")))
    assert error.expected == "a section that does not hold itself"


def test_a_variable_is_taken_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLACE", "here: #1")
    monkeypatch.setenv("EMPTY", "")
    file = read(write(tmp_path, "a: ${PLACE}/x${EMPTY}\nb: ['$${PLACE}', '$$5', $x]\n"))
    assert file.data == {"a": "here: #1/x", "b": ["${PLACE}", "$$5", "$x"]}


def test_a_missing_variable_is_told_with_its_line(tmp_path: Path) -> None:
    error = only(read(write(tmp_path, "a:\n  b: ${RAMP_NOT_SET}\n")))
    assert (error.key, error.line) == ("a.b", 2)
    assert error.expected == "the environment variable RAMP_NOT_SET to be set"


@pytest.mark.parametrize("value", ["${}", "${a b}", "${x"])
def test_a_variable_that_is_none_is_told(tmp_path: Path, value: str) -> None:
    error = only(read(write(tmp_path, f"a: '{value}'\n")))
    assert error.found == repr(value)


def test_a_message_shows_the_name_of_a_variable_and_not_its_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLACE", "hunter2")
    file = read(write(tmp_path, "a: ${PLACE}\n"))
    assert str(file.error(("a",), "a number")).endswith("a: expected a number, found '${PLACE}'")


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("password: hunter2", "'***'"),
        ("password: 1234", "'***'"),
        ("url: postgresql://me:hunter2@host/db", "'postgresql://me:***@host/db'"),
        ("x: two words", "'two words'"),
        ("x: 0123", "0123"),
        ("x:", "nothing"),
        ("x: [1]", "a list"),
        ("x: {y: 1}", "a section"),
    ],
)
def test_what_was_found_is_quoted_as_written_with_secrets_masked(
    tmp_path: Path, line: str, found: str
) -> None:
    file = read(write(tmp_path, line + "\n"))
    (name,) = file.data
    assert file.error((name,), "something else").found == found


def test_a_long_value_is_cut(tmp_path: Path) -> None:
    file = read(write(tmp_path, f"a: {'x' * 5000}\n"))
    assert len(str(file.error(("a",), "less"))) < 400
