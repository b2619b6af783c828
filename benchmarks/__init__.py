"""Measurements: each script says what it measures and what it costs."""
