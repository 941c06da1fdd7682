"""How Sphinx builds the site; the command is in CONTRIBUTING.md."""

import shutil
from functools import cached_property
from importlib.util import find_spec
from inspect import isroutine
from pathlib import Path

from sktime_alm import __version__

HERE = Path(__file__).parent

# a notebook outside of this folder is no page for Sphinx: a copy, ignored by git, becomes one
shutil.copy2(HERE.parent / "examples" / "volatility_tutorial.ipynb", HERE / "tutorials")

project = "sktime-alm"
author = copyright = "The sktime-alm developers"
release = version = __version__

extensions = [
    "myst_nb",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx_copybutton",
    "sphinx_design",
]
exclude_patterns = ["_build", "_templates"]
templates_path = ["_templates"]
nitpicky = True
# base classes of other packages, whose documentation no build can reach, and those of no user's
nitpick_ignore_regex = [
    ("py:class", r"(enum|sktime)\..*|sktime_alm\..*\._\w+|sktime_alm\.(atomic|hooks)\..*"),
    ("py:class", r"sktime_alm\.solver\.(settings\.Settings|reformulation\.TrainingProblem)"),
]

# the maths of GitHub: $...$, $$...$$ and ```math
myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_fence_as_directive = ["math"]
myst_heading_anchors = 3

# every code block runs in every build; one that fails, or warns, fails the build
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 600
nb_output_stderr = "error"
nb_merge_streams = True

autodoc_typehints = "none"  # the docstrings say the types
autosummary_generate = True
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False

html_theme = "pydata_sphinx_theme"
html_title = "sktime-alm"
# MathJax comes from a package: the site loads nothing from elsewhere
MATHJAX = Path(find_spec("sphinx-mathjax-offline").origin).parent / "static"
mathjax_path = "mathjax/tex-chtml.js"
mathjax3_config = {"chtml": {"scale": 0.95}}
html_static_path = ["_static", str(MATHJAX)]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_theme_options = {
    "logo": {"text": "sktime-alm"},
    "show_prev_next": True,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_context = {"default_mode": "auto"}
html_sidebars = {"index": []}


def setup(app):
    """Connect what follows."""
    app.connect("autodoc-skip-member", skip_plain_attributes)


def skip_plain_attributes(app, what, name, obj, skip, options):
    """Fields are described by the docstring of their class: members are methods and properties."""
    is_member = isroutine(obj) or isinstance(obj, (property, cached_property))
    return True if name == "get_test_params" or not is_member else None
