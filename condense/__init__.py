"""Dataset condensation: turn a large labelled image dataset into a small synthetic one."""
