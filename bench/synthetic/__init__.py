"""Rendered scenes in the layouts of real data sets, for the demo, the canary and tests."""
