"""A trained network, or several, with all that a forecast needs: arrays in, arrays out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sktime_alm.inputs import InputLayout
from sktime_alm.scalers import Standardizer, change_units
from sktime_alm.solver import ElmanParameters
from sktime_alm.solver._typing import Array
from sktime_alm.solver.activations import Activation
from sktime_alm.solver.network import rollout

# how many times the range of the training rows a forecast may lie outside of it, and the least
# range, of standardised values: a short series says little about its own
_REACH, _LEAST_RANGE = 3.0, 2.0
# of logarithms less: what is far beyond their range is so much farther once they are exponentiated
# that a few paths would make the mean and the variance of all
_REACH_OF_LOGS = 0.5


@dataclass(frozen=True, eq=False)
class Model:
    """Networks on standardised inputs, and how their outputs become one forecast.

    Attributes
    ----------
    layout : InputLayout
    sigma : Activation
    y_scaler, X_scaler : Standardizer
        From original to standardised units, those of all arrays below.
    networks : tuple of ElmanParameters
        Whose mean is the forecast.
    bounds : array of shape (2, m)
        Least and largest values that a forecast takes.
    """

    layout: InputLayout
    sigma: Activation
    y_scaler: Standardizer
    X_scaler: Standardizer
    networks: tuple[ElmanParameters, ...]
    bounds: Array

    def inputs(self, y: Array, X: Array, starts: Sequence[int]) -> Array:
        """Inputs of each row, from y and X in original units."""
        return self.layout.rows(self.y_scaler.transform(y), self.X_scaler.transform(X), starts)

    def in_original_units(self, network: ElmanParameters) -> ElmanParameters:
        """One of the networks for inputs and outputs that are not standardised."""
        inputs, outputs = self.layout.scaler(self.y_scaler, self.X_scaler), self.y_scaler
        units = Standardizer.identity(len(inputs.mean)), Standardizer.identity(len(outputs.mean))
        return change_units(network, (inputs, units[0]), (outputs, units[1]))

    def states(
        self, inputs: Array, starts: Sequence[int] = (0,), initial: Sequence[Array] | None = None
    ) -> list[Array]:
        """The hidden states of each network, of shape (T, r).

        ``initial`` holds those before the first row of each sequence, zeros if not given.
        """
        before: Sequence[Array | None] = initial or [None] * len(self.networks)
        return [
            rollout(network, self.sigma, inputs, starts, state)[1]
            for network, state in zip(self.networks, before, strict=True)
        ]

    def outputs(self, inputs: Array, states: Sequence[Array]) -> list[Array]:
        """The outputs of each network, of shape (T, m)."""
        pairs = zip(self.networks, states, strict=True)
        return [network.outputs(state, inputs) for network, state in pairs]

    def combined(self, outputs: Sequence[Array]) -> Array:
        """One forecast from those of each network."""
        return np.mean(outputs, axis=0)

    def forecast(self, states: Sequence[Array], y: Array, exogenous: Array) -> Array:
        """Forecasts of the steps after the rows of y, of shape (n_steps, m).

        Parameters
        ----------
        states : sequence of arrays of shape (r,)
            The hidden state of each network after the last row of y.
        y : array of shape (T, m)
        exogenous : array of shape (n_steps, n_exog_lags n)
        """
        noise = np.zeros((1, len(exogenous), len(self.y_scaler.mean)))
        paths = [
            self._paths(network, state, y, exogenous, noise)[0]
            for network, state in zip(self.networks, states, strict=True)
        ]
        return self.combined(paths)

    def paths(
        self,
        states: Sequence[Array],
        y: Array,
        exogenous: Array,
        noise: Array,
        changes: Array | None = None,
    ) -> Array:
        """Simulated paths of the shape of the noise, (n_paths, n_steps, m).

        The networks take equal shares of the paths, which then differ as they do, and by the
        changes of their readouts, of shape (n_paths, m, k), if given.
        """
        paths = np.empty_like(noise)
        shares = np.array_split(np.arange(len(noise)), len(self.networks))
        for network, state, share in zip(self.networks, states, shares, strict=True):
            of_share = None if changes is None else changes[share]
            paths[share] = self._paths(network, state, y, exogenous, noise[share], of_share)
        return paths

    def _paths(
        self,
        network: ElmanParameters,
        state: Array,
        y: Array,
        exogenous: Array,
        noise: Array,
        changes: Array | None = None,
    ) -> Array:
        return self.layout.simulate(
            network, self.sigma, state, y, exogenous, noise, self.bounds, changes
        )


def extent_of(y: Array) -> Array:
    """The least and the largest value of each column, of shape (2, m); NaN left out."""
    return np.array([np.nanmin(y, axis=0), np.nanmax(y, axis=0)])


def bounds_of(y: Array, is_log: bool) -> Array:
    """The bounds of forecasts: some times the range of y beyond its least and largest values.

    Both of logarithms if ``is_log``.
    """
    least, largest = extent_of(y)
    margin = (_REACH_OF_LOGS if is_log else _REACH) * np.maximum(largest - least, _LEAST_RANGE)
    return np.array([least - margin, largest + margin])
