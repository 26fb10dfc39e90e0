"""Pieces of runs done by the workers of a Ray cluster, on one computer or on many."""
