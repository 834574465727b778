"""The reference is made from the code, whole, and the pictures are of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import config_reference
import draw
import error_reference
import ramp_reference
from ramp_database.config import DatabaseConfig
from ramp_database.config_words import model_within
from ramp_database.states import TRANSITIONS, State
from ramp_engine.config_hooks import HookSection
from ramp_engine.config_sections import EventFile
from ramp_engine.errors import RampError
from ramp_engine.registry import hook_class, known_hooks, known_workers, worker_class
from tests.documentation.pages import REPOSITORY

DOC = REPOSITORY / "doc"
_SECTIONS = {name: model_within(it.annotation) for name, it in EventFile.model_fields.items()}
_WORKERS = {name: worker_class(name).config_model for name in known_workers()}
_HOOKS = {f"hook {name}": hook_class(name).config_model for name in known_hooks()}
_OTHERS = {"sqlalchemy": DatabaseConfig, "hooks": HookSection}
MODELS = {
    name: model
    for name, model in {**_SECTIONS, **_WORKERS, **_HOOKS, **_OTHERS}.items()
    if model is not None
}


@pytest.mark.parametrize("name", _WORKERS)
def test_every_key_says_what_it_takes_and_what_it_means(name: str) -> None:
    keys = list(config_reference.keys(MODELS[name]))
    assert [key.name for key in keys if not key.meaning or key.takes == "see there"] == []


def test_numbers_have_their_units_and_keys_their_defaults() -> None:
    keys = {key.name: key for key in config_reference.keys(MODELS["dispatcher"])}
    assert (keys["timeout"].default, keys["timeout"].unit) == ("`7200`", "s")
    assert (keys["max_attempts"].default, keys["max_attempts"].unit) == ("`3`", "")
    limits = {key.name: key for key in config_reference.keys(MODELS["local"])}
    assert limits["limits.memory_mb"].unit == "MB"
    instances = {key.name: key for key in config_reference.keys(MODELS["aws"])}
    assert instances["idle_minutes"].unit == "min"


def test_every_error_says_what_to_do_unless_those_below_it_do() -> None:
    leaves = [error for error in error_reference.tree() if not error.__subclasses__()]
    assert len(leaves) > 15
    assert [error.__name__ for error in leaves if error_reference.to_do(error) is None] == []
    assert RampError.__name__ in error_reference.errors()


def test_every_place_on_a_page_is_filled_and_every_part_has_its_place() -> None:
    text = "\n".join(path.read_text() for path in sorted((DOC / "reference").glob("*.md")))
    assert set(re.findall(r"<!-- generated: (.+?) -->", text)) == set(ramp_reference.PARTS)
    filled = ramp_reference.fill(text)
    assert "<!-- generated" not in filled
    for told in ("`worker_type: aws`", "`dask_scheduler`", "`limit_exceeded`", "`canceled`"):
        assert told in filled


@pytest.mark.parametrize("name", draw.PICTURES)
def test_pictures_are_those_of_the_code(name: str) -> None:
    """After a change of states: make pictures, and look at them."""
    assert (DOC / "pictures" / name).read_text() == draw.PICTURES[name]()


def test_the_picture_of_states_has_every_transition_and_no_other() -> None:
    picture = Path(DOC / "pictures" / "states.svg").read_text()
    arrows = re.findall(r'data-from="(.+?)" data-to="(.+?)"', picture)
    shown = {(a, b) for froms, tos in arrows for a in froms.split() for b in tos.split()}
    assert shown == {(str(state), str(to)) for state in State for to in TRANSITIONS[state]}
