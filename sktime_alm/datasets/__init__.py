"""Bundled data sets and the synthetic generator; sources are in data/PROVENANCE.md."""

from sktime_alm.datasets._loaders import load_paper_sp500, load_sp500_volatility
from sktime_alm.datasets._synthetic import make_elman

__all__ = ["load_paper_sp500", "load_sp500_volatility", "make_elman"]
