"""Sphinx settings, and nothing else. The source folder is the root of the repository."""

import hashlib
from pathlib import Path

_ROOT = Path(__file__).parent


def _digest_of_what_runs() -> str:
    """Hash the library and the pins: outputs of lessons are reused only while both are the same."""
    digest = hashlib.sha256()
    for path in [*sorted((_ROOT / "tlab").rglob("*.py")), _ROOT / "constraints.txt"]:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


project = "Inside the Transformer"
author = "The authors of Inside the Transformer"
copyright = "2026, the authors; text CC BY 4.0, code Apache-2.0"
language = "en"

extensions = [
    "myst_nb",
    "sphinx_design",
    "book.extensions.mime",
    "book.extensions.page",
    "book.extensions.pictures",
    "book.extensions.quiet_code",
    "book.extensions.api",
    "book.extensions.execution",
    "book.extensions.lab",
    "book.extensions.accessible",
    "book.extensions.depths",
    "book.extensions.left_out",
    "book.extensions.maths",
    "book.extensions.one_style",
    "book.extensions.search",
    "book.extensions.terms",
    "book.extensions.theme",
]
root_doc = "index"
include_patterns = [
    "index.md",
    "lab.md",
    "book/*.md",
    "book/how-to/*.md",
    "book/reference/*.md",
    "lessons/*.md",
    "kb/documents/*.md",
]
# Folders that Sphinx would otherwise walk through in search of pages.
exclude_patterns = [
    ".venv",
    ".nox",
    ".git",
    "build",
    "docs",
    "tests",
    "book/frontend",
    "book/templates",
    "**/node_modules",
]

myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath", "fieldlist"]
myst_heading_anchors = 3

# Words that mean many things: a term only where an author says so with {term}.
glossary_marked_by_hand = [
    "edge",
    "feature",
    "head",
    "key",
    "loss",
    "metric",
    "norm",
    "prompt",
    "query",
    "seed",
    "site",
    "value",
]

# The sections of the house's docstrings that napoleon does not know, and how they are laid out.
napoleon_custom_sections = [
    ("Shapes", "params_style"),
    ("Fields", "params_style"),
    "Units",
    "Invariants",
    "Cost",
    "Source",
]
napoleon_numpy_docstring = False
autodoc_preserve_defaults = True  # REFERENCE_PROMPTS, not its eight sentences
autodoc_typehints_format = "short"
python_maximum_signature_line_length = 80
python_use_unqualified_type_names = True
toc_object_entries_show_parents = "hide"
# Classes are named in annotations only, which mypy checks; torch's and pandas' have no pages here.
nitpick_ignore_regex = [("py:class", ".*")]

nb_execution_mode = "cache"
nb_execution_cache_path = str(_ROOT / "build" / "executed" / _digest_of_what_runs())
nb_execution_timeout = 180
nb_execution_raise_on_error = True
nb_merge_streams = True
nb_render_markdown_format = "myst"  # formulas and tables in Markdown outputs, as in live ones
nb_ipywidgets_js = {}  # MyST-NB's default loads two scripts from foreign servers

html_theme = "pydata_sphinx_theme"
html_title = "Inside the Transformer"
html_favicon = "book/static/favicon.svg"
html_context = {"default_mode": "auto"}
html_static_path = ["book/static", "book/frontend/dist"]
html_css_files = ["book.css"]
templates_path = ["book/templates"]
html_sidebars = {"**": ["book-contents.html"]}
html_additional_pages = {"search": "search.html"}
html_use_index = False  # the search knows every name, and the glossary is alphabetical
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {
    "navigation_with_keys": False,
    "show_prev_next": True,
    # Its script measures the page before it is shown; browsers have a key or a tap for it.
    "back_to_top_button": False,
    "secondary_sidebar_items": ["page-toc"],
    "navbar_center": [],
    "navbar_persistent": ["tl-search-button.html", "tl-glossary-button.html"],
    "navbar_end": ["tl-keys-button.html", "theme-switcher.html"],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "github-dark",
    "navbar_align": "left",
    "footer_start": ["copyright"],
    "footer_end": [],
}
