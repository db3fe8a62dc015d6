"""The house keeps its shape: packages match the tree, imports point one way, the way in is light."""

import ast
import fnmatch
import resource
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())
TOOL = SETTINGS["tool"]["setuptools"]
HOMES = {home: name for name, home in TOOL["package-dir"].items()}  # folder -> package
ROOMS = [home for home in HOMES if "/" not in home]
ALLOWED = {  # room -> rooms that it may import besides itself
    "core": set(),
    "configs": set(),
    "conditioning": {"core"},
    "modalities": {"core"},
    "eval": {"core"},
    "app": {"core", "conditioning", "eval"},  # modalities by name, through their entry points
}
PAGE = ROOT / "app" / "viewer" / "web"  # sources of the viewer's page, built into `static/`
HEAVY = {"torch", "lightning", "opacus", "numpy", "pandas", "pydantic", "matplotlib", "sklearn", "pydicom"}
HEAVY |= {"anndata", "zarr", "wfdb", "diffusers", "monai", "scipy", "pyarrow"}


def package_of(path):
    """Dotted name of the package a file (relative to the root of the repository) lies in."""
    parts = path.parent.as_posix()
    home = max((home for home in HOMES if f"{parts}/".startswith(f"{home}/")), key=len)
    return (HOMES[home] + parts[len(home) :].replace("/", ".")).split(".")


def imports(path, source):
    """Absolute dotted names that a file imports."""
    package = package_of(path)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{module}.{alias.name}" for alias in node.names)


def violations(path, source):
    """Imports of a file that point to a room it may not see."""
    room, *_ = path.parts
    if path.parts[:2] == ("core", "_polyclinic"):
        return []
    found = []
    for name in imports(path, source):
        first, *rest = name.split(".")
        if first != "polyclinic" or not rest or rest[0] not in ROOMS:
            continue
        foreign = rest[0] != room and rest[0] not in ALLOWED[room]
        other = room == rest[0] == "modalities" and path.parts[1] != rest[1]
        if foreign or other:
            found.append(f"{path}: {name}")
    return found


def circles(graph):
    """Groups of files that import each other in a loop: strongly connected components of two or more."""
    order, low, stack, found = {}, {}, [], []

    def visit(node):
        order[node] = low[node] = len(order)
        stack.append(node)
        for other in graph[node]:
            if other not in order:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], order[other])
        if low[node] == order[node]:
            group = [stack.pop()]
            while group[-1] != node:
                group.append(stack.pop())
            found.extend([sorted(group)] if len(group) > 1 else [])

    for node in sorted(graph):
        if node not in order:
            visit(node)
    return found


def module_of(path):
    """Dotted name of a file's module; a package's is that of its folder."""
    name = [] if path.name == "__init__.py" else [path.stem]
    return ".".join([*package_of(path), *name])


def import_graph(files):
    """Module -> modules it imports anywhere in the file: at the top, in functions, for type checkers alone."""
    known = {module_of(path) for path in files}
    graph = {}
    for path, source in files.items():
        names = {n if n in known else n.rpartition(".")[0] for n in imports(path, source)}
        graph[module_of(path)] = (names & known) - {module_of(path)}
    return graph


def sources():
    found = [path for home in ROOMS for path in sorted((ROOT / home).rglob("*.py"))]
    return [path.relative_to(ROOT) for path in found if not path.is_relative_to(PAGE)]


def test_packages_are_those_of_the_tree():
    there = {".".join(package_of(path)) for path in sources() if path.name == "__init__.py"}
    assert sorted(TOOL["packages"]) == sorted(there)


def test_every_data_file_of_a_package_is_shipped():
    for home in ROOMS:
        patterns = TOOL["package-data"].get(HOMES[home], [])
        for path in (ROOT / home).rglob("*"):
            name = path.relative_to(ROOT / home).as_posix()
            own = path.suffix not in (".py", ".pyc") and not name.startswith("_polyclinic/")
            if path.is_file() and own and not path.is_relative_to(PAGE):
                flat = [pattern.replace("**/", "*") for pattern in patterns]
                assert any(fnmatch.fnmatch(name, pattern) for pattern in flat), (
                    f"{home}/{name} is not shipped"
                )


def test_imports_point_one_way():
    assert [line for path in sources() for line in violations(path, (ROOT / path).read_text())] == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("core/x.py", "from ..app import cli"),
        ("core/x.py", "from .. import conditioning"),
        ("core/x.py", "def f():\n    import polyclinic.eval.report.report"),
        ("conditioning/x.py", "from ..modalities.imaging import Imaging"),
        ("eval/x.py", "from ..conditioning.encoder import ProfileEncoder"),
        ("modalities/imaging/x.py", "from ...eval import report"),
        ("modalities/imaging/x.py", "from ..signals import Signals"),
        ("app/x.py", "from polyclinic.modalities.omics import Omics"),
    ],
)
def test_an_import_the_wrong_way_is_found(path, source):
    assert violations(Path(path), source)
    assert not violations(Path(path), "from polyclinic.core import errors\nimport numpy\nfrom . import y")


def test_no_files_import_each_other_in_a_circle():
    files = {path: (ROOT / path).read_text() for path in sources() if "_polyclinic" not in path.parts}
    assert circles(import_graph(files)) == []


@pytest.mark.parametrize(
    "back",
    [
        "from .a import x",
        "def f():\n    from . import a",
        "if TYPE_CHECKING:\n    from polyclinic.core.a import X",
    ],
)
def test_a_circle_is_found_however_it_is_hidden(back):
    files = {
        Path("core/a.py"): "from .b import y",
        Path("core/b.py"): back,
        Path("core/c.py"): "from . import a",
    }
    assert circles(import_graph(files)) == [["polyclinic.core.a", "polyclinic.core.b"]]


def test_only_the_privacy_file_imports_opacus():
    users = [
        p.as_posix()
        for p in sources()
        if any(i.startswith("opacus") for i in imports(p, (ROOT / p).read_text()))
    ]
    assert users == ["core/dp/budget.py"]


def test_only_the_training_file_owns_a_trainer():
    def makes(path):
        calls = (n for n in ast.walk(ast.parse((ROOT / path).read_text())) if isinstance(n, ast.Call))
        return any(getattr(call.func, "attr", getattr(call.func, "id", "")) == "Trainer" for call in calls)

    assert [p.as_posix() for p in sources() if makes(p)] == ["core/training/trainer.py"]


def test_every_modality_has_the_same_five_files():
    for name, target in SETTINGS["project"]["entry-points"]["polyclinic.modalities"].items():
        assert target.startswith(f"polyclinic.modalities.{name}:")
        for file in ("__init__", "data", "model", "export", "metrics"):
            assert (ROOT / "modalities" / name / f"{file}.py").exists(), f"{name}/{file}.py"


@pytest.mark.parametrize(
    ("way_in", "most"),  # s of CPU
    [
        ("import polyclinic", 0.15),
        ("from polyclinic.app.cli import main; sys.argv = ['polyclinic', '--help']; main()", 0.5),
    ],
)
def test_the_way_in_is_light(way_in, most):
    code = f"import sys, atexit; atexit.register(lambda: print('MODULES', *sys.modules)); {way_in}"
    seconds = []
    for _ in range(8):  # what shares the core makes a run dearer, never cheaper
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        if min(seconds) < most:
            break
    loaded = {name.split(".")[0] for name in done.stdout.split("MODULES")[1].split()}
    assert loaded & HEAVY == set()
    assert min(seconds) < most


def test_drawing_loads_neither_the_training_code_nor_the_compiler():
    code = (
        "import sys\n"
        "import polyclinic.modalities.imaging.generator, polyclinic.modalities.signals.model\n"
        "import polyclinic.modalities.omics.generator, polyclinic.modalities.imaging.features\n"
        "print(*sys.modules)"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert "torch" in loaded
    unwanted = {"lightning", "pytorch_lightning", "opacus", "monai", "sympy", "torch._dynamo", "matplotlib"}
    assert unwanted.isdisjoint(loaded)
