"""Baselines: the methods that others are compared with."""
