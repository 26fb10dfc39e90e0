"""WMDD: dataset distillation via the Wasserstein metric (Liu et al., ICCV 2025, arXiv 2311.18531)."""
