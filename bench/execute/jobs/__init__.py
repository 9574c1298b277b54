"""Stages as jobs of somebody: who runs each, how it gets on, what it printed, and how it is ended."""
