"""Class lists and events in time (numpy only)."""
