"""How data sets lie on disk as released: one file a layout."""
