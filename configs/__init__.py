"""Experiments: each file returns a config; its docstring is the title page."""
