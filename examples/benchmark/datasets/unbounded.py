"""The problems without a bound on the recurrent weights."""

from benchopt import BaseDataset


class Dataset(BaseDataset):
    """The paper's file, volatility, teachers, recall and macroeconomic series."""

    name = "unbounded"
    requirements = ["pip::statsmodels"]
    parameters = {
        "problem": [
            "sp500-alpha-1",
            "sp500-alpha-0.01",
            "volatility-r8",
            "volatility-r20",
            "synthetic-10",
            "synthetic-500",
            "teacher-4000",
            "teacher-40000",
            "recall-50",
            "macro",
        ],
    }
    test_config = {"problem": "synthetic-10"}

    def get_data(self):
        return {"name": self.problem}
