"""The study of ``panel_volatility.py``: its data, its models, and how they are compared."""
