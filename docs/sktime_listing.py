"""What sktime would list us with: a placeholder that becomes our forecaster where it is installed.

It is to be copied to ``sktime/forecasting/alm_elman.py``; see "Listing in sktime" in
CONTRIBUTING.md. ``tests/test_sktime_listing.py`` holds its arguments to those of the forecaster.
"""

from sktime.forecasting.base import BaseForecaster
from sktime.utils.dependencies import _placeholder_record


@_placeholder_record("sktime_alm", dependencies="sktime-alm")
class ALMElmanForecaster(BaseForecaster):
    r"""Elman recurrent network trained by an augmented Lagrangian method.

    Estimator from the ``sktime-alm`` package.

    .. math:: u_t = W h_{t-1} + V x_t + b, \quad h_t = \sigma(u_t), \quad
              \hat y_t = A h_t + D x_t + c

    The inputs x_t are past values of y (``lags``), averages (``window_means``) and exogenous X
    (``exog_lags``). The weights are found by an augmented Lagrangian method [1]_: hidden states
    are variables of their own, and the readout is the best one at every step. With D alone it is
    a ridge regression; hidden units are used only where, within the training window, they
    forecast better. y and X are standardised.

    Parameters
    ----------
    hidden_size : int, default=8
        Number r of hidden units.
    activation : {"relu", "leaky_relu", "elu", "tanh"} or Activation, default="relu"
    lags : int or sequence of int, optional
        Past values of y: the last ``lags`` values, by default 1, or exactly those of a sequence.
    window_means : sequence of int, "har", or dict of them, optional
        Averages of so many last values of y; a dict names "y" and columns of X. "har" is a week
        and a month of days, a month and a quarter of weeks, a quarter and a year of months.
    half_lives : sequence of float, "ladder", or dict of them, optional
        Averages whose weights halve every so many rows; "ladder" is 1, 2, 5, 12, 30 and 80 days.
    exog_lags : int, sequence of int, or dict of them, optional
        Past values of X: as ``lags``, but 0 is X of the time that is forecast, the default. A dict
        holds them for each column of X.
    calendar_inputs : bool, optional
        Whether the weekday and the days since the row before are inputs, of daily data.
    loss : {"squared", "qlike"} or Datafit, default="squared"
        "qlike", the gamma deviance of the root of y, is for variances: y, which must not be below
        0, is forecast through its logarithm, and forecasts are right in the mean. Unless the
        arguments above say otherwise, y and X then enter by ladders of half-lives, X of the row
        before, and daily data with their calendar. Others are objects, as ``QLIKE(power=1.0)``.
    alpha, skip_alpha : float or "auto", default="auto"
        Strengths of the l2 penalties of the network and of D, in rows of prior, whatever their
        number. "auto" chooses them by forecasts within the training window, of the steps of
        ``fh`` if ``fit`` is passed one, and averages the network with the regression, with the
        weight that it earns there. With a number for ``alpha`` the network forecasts alone; an
        infinite one leaves the regression, an infinite ``skip_alpha`` the paper's network, no D.
    max_iter : int, optional
        Outer iterations, in place of those of ``solver_options`` (300).
    n_init : int, default=1
        Number of random starts. The forecast is the mean of those of all networks, but for
        those that failed, at four times the objective of the best or more.
    interval_method : {"bootstrap", "conformal"}, default="bootstrap"
        Quantiles from simulated paths, or from errors so many steps ahead.
    random_state : int, numpy Generator or RandomState, optional
    n_jobs : int, optional
        Number of starts that train at a time, in threads; the outcome does not depend on it.
    verbose : int, default=0
        1 shows a progress bar, 2 a line an iteration.
    callback : callable, optional
        Called with the record of each iteration of the training, which ends when it returns True.
    solver_options : SafeguardedSettings, dict of its fields, or ALMSettings, optional
        Such as ``{"max_recurrence": 0.9}``; ``ALMSettings`` of the solver is the paper's method.

    Attributes
    ----------
    parameters_ : ElmanParameters
        The weights of the best network as trained, in standardised units; ``networks_`` are
        those that forecast, averaged with the regression where the penalties were chosen: one
        for each start, or six stopped early where their mean forecasts held-out rows better.
    result_, n_iter_, objective_, certificate_
        Of the training: all that :class:`~sktime_alm.solver.ALMResult` holds, and parts of it.
    alpha_, skip_alpha_ : float
        The strengths chosen or passed; ``alpha_`` is infinite where the regression is used alone.
    alpha_path_ : pandas.DataFrame
        What was tried for "auto": for each pair the weight of the network in its average with
        the regression, the loss of that, its excess over the best, and the standard error of it.
    seed_spread_ : numpy array of shape (m,)
        How much the starts differ, in units of y; NaN with a single one.

    Raises
    ------
    ValueError, TypeError
        With the argument, the time and the remedy; the forecaster is left as it was.

    References
    ----------
    .. [1] Wang, Y., Zhang, C. and Chen, X. (2024). An augmented Lagrangian method for
       training recurrent neural networks. arXiv:2402.13687.

    Examples
    --------
    >>> from sktime_alm import ALMElmanForecaster  # doctest: +SKIP
    >>> from sktime_alm.datasets import load_sp500_volatility  # doctest: +SKIP
    >>> y, X = load_sp500_volatility()  # doctest: +SKIP
    >>> forecaster = ALMElmanForecaster(4, exog_lags=1, random_state=0).fit(y, X)  # doctest: +SKIP
    >>> forecaster.predict(fh=1).index[0]  # doctest: +SKIP
    Period('2009-07', 'M')
    """

    _tags = {  # noqa: RUF012  # sktime reads it from the class
        # packaging info
        "authors": ["sktime-alm developers"],
        "maintainers": ["sktime-alm developers"],
        "python_dependencies": "sktime-alm",
        # estimator type
        "y_inner_mtype": "pd.DataFrame",
        "X_inner_mtype": "pd.DataFrame",
        "capability:multivariate": True,
        "capability:exogenous": True,
        # in y; in X only where it is not needed, which sktime cannot know: we check
        "capability:missing_values": True,
        "capability:categorical_in_X": False,
        "capability:insample": True,
        "capability:pred_int": True,
        "capability:pred_int:insample": True,
        "capability:update": True,
        "capability:pretrain": True,
        "capability:non_contiguous_X": False,
        "capability:unequal_length": True,
        "capability:random_state": True,
        "property:randomness": "derandomized",
        "requires-fh-in-fit": False,
        "X-y-must-have-same-index": False,
        "enforce_index_type": None,
        "fit_is_empty": False,
        # testing configuration: the package runs sktime's checks itself
        "tests:skip_all": True,
    }

    _config = {"remember_data": False}  # noqa: RUF012

    def __init__(
        self,
        hidden_size=8,
        activation="relu",
        lags=None,
        window_means=None,
        half_lives=None,
        exog_lags=None,
        calendar_inputs=None,
        loss="squared",
        alpha="auto",
        skip_alpha="auto",
        max_iter=None,
        n_init=1,
        interval_method="bootstrap",
        random_state=None,
        n_jobs=None,
        verbose=0,
        callback=None,
        solver_options=None,
    ):
        self.hidden_size = hidden_size
        self.activation = activation
        self.lags = lags
        self.window_means = window_means
        self.half_lives = half_lives
        self.exog_lags = exog_lags
        self.calendar_inputs = calendar_inputs
        self.loss = loss
        self.alpha = alpha
        self.skip_alpha = skip_alpha
        self.max_iter = max_iter
        self.n_init = n_init
        self.interval_method = interval_method
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose
        self.callback = callback
        self.solver_options = solver_options
        super().__init__()
