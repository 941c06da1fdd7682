"""The problems with the bound of the forecaster, 0.98, on the spectral norm of W."""

from benchopt import BaseDataset


class Dataset(BaseDataset):
    """Systems with memory, and volatility with a weak penalty: the bound is active."""

    name = "bounded"
    parameters = {
        "problem": [
            "tanks",
            "simulated-tanks",
            "duffing",
            "slow-ar2",
            "volatility-r8-bounded",
        ],
    }
    test_config = {"problem": "slow-ar2"}

    def get_data(self):
        return {"name": self.problem}
