"""Approximate lumping: subspaces found along trajectories, with an error that is measured."""
