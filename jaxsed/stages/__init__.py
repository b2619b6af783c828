"""Wiring: each stage builds weights, data, loss and evaluators, and calls the loop."""
