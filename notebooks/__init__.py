"""Five notebooks, from one recording to a pod; `execute.py` runs them and keeps outputs."""
