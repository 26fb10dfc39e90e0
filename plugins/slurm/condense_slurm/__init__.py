"""Pieces of runs done by jobs of a SLURM cluster, which submitit hands in."""
