"""The import order, read from the source: a module imports only what stands above it."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import sktime_alm

ROOT = Path(sktime_alm.__file__).parent

# top to bottom, as in CONTRIBUTING.md
ORDER = [
    "solver._typing",
    "solver._validation",
    "solver.kernels",
    "solver.slopes",
    "solver.settings",
    "solver.secants",
    "solver.datafits",
    "solver.execution",
    "solver.activations",
    "solver.network",
    "solver.regularization",
    "solver.contraction",
    "solver.initialization",
    "solver.reformulation",
    "solver.lagrangian",
    "solver.rim",
    "solver.optimality",
    "solver.result",
    "solver.bcd",
    "solver.readout",
    "solver.spread",
    "solver.reduced",
    "solver.accelerated",
    "solver.curvature",
    "solver.block_kinks",
    "solver.subgradients",
    "solver.kink_program",
    "solver.active_set",
    "solver.safeguarded",
    "solver.sampled",
    "solver.alm",
    "solver.driver",
    "solver.multistart",
    "solver",
    "_version",
    "scalers",
    "level",
    "inputs",
    "model",
    "bias",
    "posterior",
    "intervals",
    "averaging",
    "regression",
    "penalties",
    "alpha_path",
    "validation",
    "pooling",
    "fitted",
    "replays",
    "progress",
    "trainer",
    "estimator",
    "engines",
    "spreading",
    "torch_module",
    "calendar",
    "arguments",
    "frames",
    "history",
    "panel",
    "partitions",
    "files",
    "atomic",
    "hooks",
    "forecaster",
    "evaluation",
    "plotting",
    "datasets._loaders",
    "datasets._synthetic",
    "datasets._systems",
    "datasets",
    "",
]

EVERYWHERE = {"numpy", "scipy"}
ELSEWHERE = {
    "pandas": {
        "calendar",
        "frames",
        "history",
        "panel",
        "partitions",
        "atomic",
        "hooks",
        "forecaster",
        "evaluation",
        "plotting",
        "datasets._loaders",
        "datasets._synthetic",
        "datasets._systems",
    },
    "sktime": {"atomic", "hooks", "forecaster", "evaluation"},
    "numba": {
        "solver.kernels",
        "solver.slopes",
        "solver.activations",
        "solver.secants",
        "solver.contraction",
    },
    "llvmlite": {"solver.kernels"},
    "packaging": {"files"},
    "tqdm": {"progress"},
    "sklearn": {"hooks"},
    "threadpoolctl": {"solver.execution"},
    "joblib": {"solver.multistart"},
}
# inside functions (or for type checkers) only: the module works without the package
ON_USE = {
    "dask": {"engines"},
    "distributed": {"engines"},
    "skpro": {"hooks"},
    "pandas": {"solver.result"},
    "sktime": {"plotting"},
    "matplotlib": {"plotting"},
    "arch": {"evaluation"},
    "statsmodels": {"evaluation"},
    "torch": {"torch_module"},
}


def name_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


MODULES = {name_of(path): path for path in ROOT.rglob("*.py")}


def imports_of(path):
    """Every module named in an import statement, wherever it stands in the file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, f"relative import in {path}"
            submodules = [f"{node.module}.{alias.name}" for alias in node.names]
            inside = [name for name in submodules if name.removeprefix("sktime_alm.") in MODULES]
            yield from inside or [node.module]


def test_every_module_has_its_place():
    assert sorted(MODULES) == sorted(ORDER)


@pytest.mark.parametrize("name", ORDER)
def test_a_module_imports_only_what_stands_above_it(name):
    above = set(ORDER[: ORDER.index(name)])
    for imported in imports_of(MODULES[name]):
        if imported == "sktime_alm" or imported.startswith("sktime_alm."):
            inside = imported.removeprefix("sktime_alm").removeprefix(".")
            assert inside in above, f"{name} imports {inside}, which stands below it"


@pytest.mark.parametrize("name", ORDER)
def test_packages_are_imported_only_where_they_belong(name):
    for imported in imports_of(MODULES[name]):
        package = imported.split(".")[0]
        if package in sys.stdlib_module_names or package in EVERYWHERE | {"sktime_alm"}:
            continue
        allowed = ELSEWHERE.get(package, set()) | ON_USE.get(package, set())
        assert name in allowed, f"{name} imports {package}"


@pytest.mark.parametrize("package", ON_USE)
def test_packages_of_few_functions_are_imported_on_use(package):
    for name in ON_USE[package]:
        top_level = ast.parse(MODULES[name].read_text()).body
        imports = [node for node in top_level if isinstance(node, (ast.Import, ast.ImportFrom))]
        assert not any(ast.unparse(node).split()[1].split(".")[0] == package for node in imports)


def test_the_solver_does_not_wait_for_what_forecasters_need():
    code = "import sys, sktime_alm.solver; print({'sktime', 'pandas', 'torch'} & {*sys.modules})"
    command = [sys.executable, "-c", code]
    assert subprocess.run(command, capture_output=True, text=True).stdout == "set()\n"
    assert set(sktime_alm.__all__) <= set(dir(sktime_alm))


def test_every_module_is_on_the_map_and_nothing_else():
    """The map is the table of CONTRIBUTING.md."""
    contributing = (ROOT.parent / "CONTRIBUTING.md").read_text()
    places = re.findall(r"^\| (`.*?) \|", contributing, re.MULTILINE)
    named = {Path(name).name for place in places for name in re.findall(r"`([\w/]+\.py)`", place)}
    modules = {path.name for path in ROOT.rglob("*.py")} - {"__init__.py"}
    assert named == modules


def test_the_version_is_said_alike():
    citation = (ROOT.parent / "CITATION.cff").read_text()
    assert f"version: {sktime_alm.__version__}\n" in citation
