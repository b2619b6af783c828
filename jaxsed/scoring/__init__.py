"""Stored scores beside the truth, from tables or prepared data: what commands evaluate."""
