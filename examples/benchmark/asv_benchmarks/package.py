"""What it takes to import the package, in a process of its own."""


def timeraw_import_forecaster():
    return "from sktime_alm import ALMElmanForecaster"


def timeraw_import_solver():
    return "import sktime_alm.solver"
