"""Detecting events with a trained model, and everything written about them."""
