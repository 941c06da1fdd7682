"""What few rows tell: degrees of freedom of a fit, its noise, readouts that are as likely."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import chi2

from sktime_alm.solver import ElmanParameters
from sktime_alm.solver._typing import Array, BoolArray

# so many networks stand for what is not known about the readout; with fewer degrees of freedom
# than the first number all paths are theirs, with more than the second none
_N_DRAWS, _FEW, _MANY = 500, 30, 120
# errors so few are taken to be normal; of more the sample itself is drawn from more and more often
_NORMAL = 20

# relative to the largest, the penalty of weights without one
_LEAST_PENALTY = 1e-9

# the decadic logarithm of the lightest penalty of a linear skip that intervals are made with
_LIGHTEST = -4.0


@dataclass(frozen=True, eq=False)
class Posterior:
    """What few rows tell about the readout and the noise, as in a linear regression.

    With k columns of Z = [h x 1], T rows, penalties N and residuals E the readout is known up to
    a normal error of the covariance (Z'Z + N)^-1 times that of the noise, whose own scale is known
    as well as nu degrees of freedom allow. One step ahead, that is Student's prediction interval.

    Attributes
    ----------
    shift : array of shape (m, k)
        What the mean of the readout differs by from that of the network.
    root : array of shape (k, k)
        The symmetric root of (Z'Z + N)^-1.
    scale : array of shape (m, m)
        A root of the covariance of the noise, E'E / nu, and of what p' degrees of freedom of the
        hidden layer leave unknown, p' / T of it in the mean over the rows.
    errors : array of shape (T, m)
        E, standardised by its own covariance.
    n_degrees : float
        nu, which those of the readout and of the hidden layer leave of T.
    """

    shift: Array
    root: Array
    scale: Array
    errors: Array
    n_degrees: float

    @classmethod
    def of(
        cls, Z: Array, l2_readout: Array, readout: Array, targets: Array, n_hidden: float = 0.0
    ) -> Posterior:
        """From the rows of a fit.

        Parameters
        ----------
        Z : array of shape (T, k)
            What the readout acts on: the columns of [h 1], or [h x 1] with a linear skip.
        l2_readout : array of shape (k,)
            N: penalties of its weights, in the objective that is a mean over T rows.
        readout : array of shape (m, k)
            That of the network.
        targets : array of shape (T, m)
        n_hidden : float, default=0.0
            Degrees of freedom that the weights of the hidden layer have taken.
        """
        values, vectors = np.linalg.eigh(Z.T @ Z + len(Z) * np.diag(l2_readout))
        # units that are never active leave directions that nothing is known about, nor depends on
        is_known = values > 1e-12 * values.max()
        # the symmetric root: eigenvectors have signs that rounding decides
        root = vectors[:, is_known] / np.sqrt(values[is_known]) @ vectors[:, is_known].T
        found = root @ (root @ (Z.T @ targets))
        n_degrees = len(Z) - effective_parameters(Z, l2_readout) - n_hidden
        errors = targets - Z @ found
        if n_degrees < 1.0:
            # nothing is left over: all that the rows do is noise
            errors, n_degrees = targets - targets.mean(axis=0), max(len(Z) - 1.0, 1.0)
        root_of_errors = np.asarray(np.linalg.qr(errors / np.sqrt(len(Z)), mode="r"))
        whitened = errors @ np.linalg.pinv(root_of_errors)
        scale = root_of_errors * np.sqrt((len(Z) + n_hidden) / n_degrees)
        return cls(found.T - readout, root, scale, whitened, float(n_degrees))

    def noise(self, n_steps: int, n_paths: int) -> Array:
        """Normal noise as large as the errors, of shape (n_paths, n_steps, m)."""
        shape = n_paths, n_steps, len(self.scale)
        return np.random.default_rng(0).normal(size=shape) @ self.scale

    def corrected(self, bias: Array, Z: Array) -> Posterior:
        """Without a bias of the readout, of shape (m, k); the regression keeps the means of rows.

        Parameters
        ----------
        bias : array of shape (m, k)
            That of the last column, the constant, is not read.
        Z : array of shape (T, k)
        """
        change = -bias
        change[:, -1] = bias[:, :-1] @ Z[:, :-1].mean(axis=0)
        return replace(self, shift=self.shift + change)

    @property
    def share(self) -> float:
        """Of the paths, those that are drawn from here."""
        return float(np.clip((_MANY - self.n_degrees) / (_MANY - _FEW), 0.0, 1.0))

    def draw(self, n_steps: int, seed: int, n_paths: int) -> tuple[Array, Array]:
        """Readouts that the rows could as well have led to, and noise, for each path.

        Returns
        -------
        changes : array of shape (n_paths, m, k)
            Of the readout; equal shares of paths have the same.
        noise : array of shape (n_paths, n_steps, m)
        """
        generator = np.random.default_rng(seed)
        n_draws = min(_N_DRAWS, n_paths)
        # Student's distribution is a normal one of uncertain scale; the scales and, in pairs of
        # opposite signs, the changes are spread evenly, as a few draws would not be
        places = (generator.permutation(n_draws) + 0.5) / n_draws
        spread = np.sqrt(self.n_degrees / chi2.ppf(places, self.n_degrees))
        half = generator.normal(size=(-(-n_draws // 2), self.root.shape[1], len(self.scale)))
        normal = np.concatenate([half, -half])[:n_draws]
        drawn = spread[:, None, None] * (self.root @ normal @ self.scale)
        changes = self.shift + np.swapaxes(drawn, 1, 2)
        draw_of = np.arange(n_paths) * n_draws // n_paths
        n_errors = len(self.errors)
        noise = np.empty((n_steps, n_paths, len(self.scale)))
        for step in range(n_steps):
            # a row of draws a step: a shorter run draws the beginning of a longer one
            shocks = generator.normal(size=noise.shape[1:])
            seen = self.errors[generator.integers(n_errors, size=n_paths)]
            is_normal = generator.random(n_paths) < _NORMAL / n_errors
            noise[step] = np.where(is_normal[:, None], shocks, seen)
        noise *= spread[draw_of, None]
        return changes[draw_of], np.swapaxes(noise, 0, 1) @ self.scale


def with_changed_readout(network: ElmanParameters, change: Array) -> ElmanParameters:
    """The network with its readout [A D c] changed."""
    return ElmanParameters.from_layers(network.hidden_layer, network.readout + change)


def lightest(Z: Array, l2_readout: Array, is_light: BoolArray) -> Array:
    """Penalties as light as the rows allow, which leave half of the degrees of freedom.

    What few rows chose by their forecasts is itself hardly known: intervals cannot trust it.

    Parameters
    ----------
    Z : array of shape (T, k)
    l2_readout : array of shape (k,)
        Penalties, of which none is exceeded.
    is_light : array of shape (k,)
        Those that may be lighter.
    """
    for lightness in 10.0 ** np.arange(_LIGHTEST, _LIGHTEST + 6.5, 0.5):
        lighter = np.where(is_light, np.minimum(l2_readout, lightness), l2_readout)
        if effective_parameters(Z, lighter) <= 0.5 * len(Z):
            return lighter
    return l2_readout


def effective_parameters(J: Array, l2: Array) -> float:
    """Degrees of freedom of penalised weights: the trace of their regression's hat matrix.

    Parameters
    ----------
    J : array of shape (T, k)
        What the outputs change by with each weight, such as [h x 1] for those of the readout.
    l2 : array of shape (k,)
        Penalties of the weights, in the objective that is a mean over T rows.
    """
    # weights without a penalty count as hardly penalised; those that change nothing not at all
    scaled = J / np.sqrt(len(J) * np.maximum(l2, _LEAST_PENALTY * max(l2.max(initial=0.0), 1.0)))
    gram = scaled @ scaled.T if len(J) < len(l2) else scaled.T @ scaled
    values = np.maximum(np.linalg.eigvalsh(gram), 0.0)
    return float(np.sum(values / (1.0 + values)))


def as_new_errors(errors: Array, n_parameters: float, is_centred: bool = True) -> Array:
    """Errors of the training rows, centred and inflated to the size of errors on new rows.

    A fit with p parameters takes p of T degrees of freedom from its errors, whose mean
    square is then (T - p) / T times that of the noise.

    Parameters
    ----------
    errors : array of shape (T, m)
    n_parameters : float
        p, effective if the fit is penalised.
    is_centred : bool, default=True
        If not, the mean is kept: that of a loss of logarithms is not 0.
    """
    T, mean = len(errors), errors.mean(axis=0)
    inflated = (errors - mean) * np.sqrt(T / max(T - n_parameters, 1.0))
    return inflated if is_centred else mean + inflated
