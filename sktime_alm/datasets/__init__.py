"""Bundled data sets and simulated ones; sources are in data/PROVENANCE.md."""

from sktime_alm.datasets._loaders import load_paper_sp500, load_sp500_volatility
from sktime_alm.datasets._synthetic import make_elman
from sktime_alm.datasets._systems import make_duffing, make_tanks

__all__ = ["load_paper_sp500", "load_sp500_volatility", "make_duffing", "make_elman", "make_tanks"]
