"""Arrows between the rooms of the package point down, and no import goes in a circle."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import drqfaiss

PACKAGE = Path(drqfaiss.__file__).parent
# The rooms from the ground up; a room knows those of its own line and of the lines before it.
ROOMS = (
    ("_core", "_check", "_files", "_headers", "_hdf5", "_fingerprint", "_progress", "_tail_file", "_threads"),
    ("_least_squares",),
    ("_plugin", "_faiss_abi"),
    ("quantizer",),
    ("_indexes",),
    ("_faiss",),
    ("datasets", "evaluation"),
    ("_neighbours",),
    ("_planning", "_tuning"),
    ("build", "supervised"),
    ("distributed", "training"),
    ("serving",),
    ("", "_public"),  # the package itself, which names what is public
    ("cli",),
    ("__main__",),
)
# What docs/architecture.md explains.
UPWARD = {
    ("drqfaiss._plugin.probe", "drqfaiss"),
    ("drqfaiss._least_squares.polish", "drqfaiss.quantizer"),
    ("drqfaiss.quantizer", "drqfaiss._indexes.flat"),
    ("drqfaiss.quantizer", "drqfaiss._indexes.nested"),
}
PYTORCH = "supervised"


def module_name(path):
    parts = ["drqfaiss", *path.relative_to(PACKAGE).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in PACKAGE.rglob("*.py")}


def imported(nodes):
    """The modules that statements import, of ours the module that has the name."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in MODULES or whole == "drqfaiss._core" else node.module


def imports(name, *, deferred):
    """What a module imports when it is imported itself or, deferred, ever."""
    tree = ast.parse(MODULES[name].read_text())
    return set(imported(ast.walk(tree) if deferred else tree.body))


def room(name):
    return name.split(".")[1] if "." in name else ""


HEIGHT = {name: height for height, names in enumerate(ROOMS) for name in names}


def test_every_module_has_a_room():
    assert {room(name) for name in MODULES} <= HEIGHT.keys()


def test_arrows_between_rooms_point_down():
    upward = {
        (name, other)
        for name in MODULES
        for other in imports(name, deferred=True)
        if other.split(".")[0] == "drqfaiss" and HEIGHT[room(name)] < HEIGHT[room(other)]
    }
    assert upward == UPWARD


def test_no_import_goes_in_a_circle():
    graph = {name: imports(name, deferred=False) & MODULES.keys() - {name} for name in MODULES}
    assert len([*TopologicalSorter(graph).static_order()]) == len(MODULES)  # raises CycleError


def test_only_the_supervised_training_knows_pytorch():
    with_torch = {
        room(name)
        for name in MODULES
        if any(other.split(".")[0] == "torch" for other in imports(name, deferred=True))
    }
    assert with_torch == {PYTORCH}


def test_no_public_name_shadows_a_module():
    for package, path in MODULES.items():
        if path.name == "__init__.py":
            nodes = ast.walk(ast.parse(path.read_text()))
            names = {node.asname or node.name for node in nodes if isinstance(node, ast.alias)}
            assert not {f"{package}.{name}" for name in names} & MODULES.keys(), package
