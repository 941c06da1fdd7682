"""Pooled learners on the means of a HAR, of the market and of returns: boosted trees and a network.

Both begin at a pooled regression, which extrapolates as they cannot, and add to its logs. They stop
early by the loss on the last fifth of the training rows.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.linear_model import LinearRegression

from volatility.data import Panel
from volatility.linear import Windows, frame_like, past_means, standardised

N_SEEDS = 3


def boosting(train: Panel, test: Panel, windows: Windows) -> pd.DataFrame:
    """LightGBM with the gamma deviance, which is QLIKE."""
    import lightgbm

    both, n = train.followed_by(test), len(train.variances)
    A, z, mean, scale = standardised(both, n, past_means(both, windows, True, True))
    early, late = _split(max(windows), n)
    start = np.exp(mean + scale * _regression(A, z, early))
    ratio = both.variances.to_numpy() / start
    settings = {
        "objective": "gamma",
        "learning_rate": 0.03,
        "num_leaves": 8,
        "min_data_in_leaf": 200,
        "feature_fraction": 0.7,
        "bagging_fraction": 0.7,
        "bagging_freq": 1,
        "verbosity": -1,
        "seed": 0,
        "num_threads": 1,
        "deterministic": True,
    }
    sets = [
        lightgbm.Dataset(A[rows].reshape(-1, A.shape[2]), ratio[rows].ravel())
        for rows in (early, late)
    ]
    stop = lightgbm.early_stopping(30, verbose=False)
    trees = lightgbm.train(settings, sets[0], 600, valid_sets=[sets[1]], callbacks=[stop])
    forecast = trees.predict(A[n:].reshape(-1, A.shape[2])).reshape(-1, A.shape[1])
    return frame_like(test, forecast * start[n:])


def mlp(train: Panel, test: Panel, windows: Windows) -> pd.DataFrame:
    """A PyTorch network of one layer of 16 units, by QLIKE; the mean log of three starts."""
    import torch

    both, n = train.followed_by(test), len(train.variances)
    A, z, mean, scale = standardised(both, n, past_means(both, windows, True, True))
    early, late = _split(max(windows), n)
    start = _regression(A, z, early)
    arrays = A, z - start, scale
    inputs, targets, scales = (torch.as_tensor(a, dtype=torch.float32) for a in arrays)

    def qlike(network: torch.nn.Module, rows: slice) -> torch.Tensor:
        log_ratio = scales * (targets[rows] - network(inputs[rows])[..., 0])
        return (torch.exp(log_ratio) - log_ratio).mean() - 1.0

    logs = np.zeros((len(test.variances), A.shape[1]))
    for seed in range(N_SEEDS):
        network = _trained(qlike, A.shape[2], early, late, seed)
        with torch.no_grad():
            logs += network(inputs[n:])[..., 0].double().numpy() / N_SEEDS
    return frame_like(test, np.exp(mean + scale * (start[n:] + logs)))


def _trained(qlike, n_inputs: int, early: slice, late: slice, seed: int):
    """The network of the epoch that is best on the late rows."""
    import torch

    torch.manual_seed(seed)
    layers = torch.nn.Linear(n_inputs, 16), torch.nn.GELU(), torch.nn.Linear(16, 1)
    network = torch.nn.Sequential(*layers)
    torch.nn.init.zeros_(layers[-1].weight)
    optimiser = torch.optim.AdamW(network.parameters(), lr=0.01, weight_decay=0.01)
    best, best_epoch, weights = np.inf, 0, network.state_dict()
    for epoch in range(400):
        optimiser.zero_grad()
        qlike(network, early).backward()
        optimiser.step()
        with torch.no_grad():
            loss = qlike(network, late).item()
        if loss < best:
            best, best_epoch = loss, epoch
            weights = {name: value.clone() for name, value in network.state_dict().items()}
        elif epoch - best_epoch >= 30:
            break
    network.load_state_dict(weights)
    return network


def _regression(A: np.ndarray, z: np.ndarray, rows: slice) -> np.ndarray:
    """Fitted values and forecasts of all rows by one regression for all series."""
    known = ~np.isnan(A).any(axis=(1, 2))
    model = LinearRegression().fit(A[rows].reshape(-1, A.shape[2]), z[rows].ravel())
    values = np.full(z.shape, np.nan)
    values[known] = model.predict(A[known].reshape(-1, A.shape[2])).reshape(-1, z.shape[1])
    return values


def _split(first: int, n: int) -> tuple[slice, slice]:
    cut = first + int(0.8 * (n - first))
    return slice(first, cut), slice(cut, n)
