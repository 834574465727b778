"""How the documentation is built: `make doc`, into build/doc."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

import ramp_engine

project = "ramp"
author = "the ramp developers"
html_show_copyright = False
release = version = ramp_engine.__version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.viewcode",
    "sphinx_click",
    "ramp_reference",
]
exclude_patterns = ["_ext", "README.md"]

html_theme = "furo"
html_title = f"ramp {release}"
html_copy_source = False
html_static_path = ["_static"]
html_css_files = ["ramp.css"]

# Headings are anchors, as on the pages of a repository: page.md#a-heading.
myst_heading_anchors = 4

# In docstrings `name` is a name of the code.
default_role = "literal"
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # numpydoc's sections say types in words
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False

nitpicky = True
# Bases of our classes that have no page here.
nitpick_ignore_regex = [
    ("py:class", r"(pydantic|pathlib|abc|enum|typing|collections\.abc)\..*"),
    ("py:class", r"ramp_engine\.(worker_place|sandbox|remote)\..*"),
]

linkcheck_timeout = 20
linkcheck_retries = 3
linkcheck_workers = 4
linkcheck_ignore = [r"https?://(localhost|127\.|10\.|169\.254\.|\[::1\])"]
