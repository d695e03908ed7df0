"""Sphinx extensions that turn MyST-NB's pages into pages that the front end can bring to life."""
