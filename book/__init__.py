"""The book: its pages, its Sphinx extensions, its theme and its front end."""
