"""Sphinx settings of the kitchen-sink site: the book's own extensions and look, one page with every kind of output."""

project = "Kitchen sink"
language = "en"
extensions = [
    "myst_nb",
    "book.extensions.execution",
    "book.extensions.maths",
    "book.extensions.mime",
    "book.extensions.page",
    "book.extensions.pictures",
]
root_doc = "index"
exclude_patterns = ["conf.py"]
myst_enable_extensions = ["amsmath", "dollarmath"]
nb_execution_mode = "cache"
nb_execution_timeout = 120
nb_execution_raise_on_error = True
nb_merge_streams = True
nb_render_markdown_format = "myst"
nb_ipywidgets_js = {}
html_theme = "pydata_sphinx_theme"
html_favicon = "../../../book/static/favicon.svg"
html_static_path = ["../../../book/static", "../../../book/frontend/dist"]
html_css_files = ["book.css"]
html_context = {"default_mode": "light"}
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {"navbar_center": []}
