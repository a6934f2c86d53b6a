"""Nothing is unpickled, nothing evaluated, nothing given to a shell: in the service, the worker and the benchmarks."""

import ast

import pytest
from support.processes import REPOSITORY

FOLDERS = ("service", "worker", "benchmarks")
MODULES = {"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "pty", "commands"}
NAMES = {"eval", "exec", "compile", "__import__", "breakpoint"}
CALLS = {
    "os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput", "asyncio.create_subprocess_shell",
    "torch.load", "torch.save", "torch.hub.load", "torch.jit.load", "torch.package.PackageImporter",
    "yaml.load", "yaml.unsafe_load", "yaml.full_load", "yaml.load_all", "yaml.unsafe_load_all",
    "pandas.read_pickle", "pd.read_pickle", "jsonpickle.decode", "runpy.run_path", "runpy.run_module",
    "importlib.import_module", "multiprocessing.Process", "multiprocessing.Pool", "mp.Process", "mp.Pool",
}  # fmt: skip
NUMPY = {"np.load", "numpy.load", "np.save", "numpy.save", "np.lib.format.read_array", "np.lib.format.write_array"}
ALLOWED = {
    ("benchmarks/__main__.py", "importlib.import_module"): "names of a fixed list, from the command line",
    ("service/public/factrfm/__init__.py", "importlib.import_module"): "modules of ours, from a fixed list",
    ("service/public/factrfm/_packages.py", "importlib.import_module"): "modules of ours, from a fixed list",
}


def _dotted(node: ast.expr) -> str:
    """Return ``a.b.c`` of a call's function, as it is written."""
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else "?"


def _dangers(source: str) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [name.name for name in node.names if name.name.split(".")[0] in MODULES]
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            found += [node.module] if node.module.split(".")[0] in MODULES else []
            found += [full for name in node.names if (full := f"{node.module}.{name.name}") in CALLS]
        elif isinstance(node, ast.Call):
            name = _dotted(node.func)
            options = {word.arg: word.value for word in node.keywords}
            pickles = options.get("allow_pickle")
            off = isinstance(pickles, ast.Constant) and pickles.value is False
            shell = options.get("shell")
            if name in NAMES | CALLS or (name in NUMPY and not off) or (pickles is not None and not off):
                found.append(name)
            if shell is not None and not (isinstance(shell, ast.Constant) and shell.value is False):
                found.append(f"{name} with a shell")
    return found


def test_no_code_unpickles_evaluates_or_asks_a_shell() -> None:
    found = {}
    for folder in FOLDERS:
        for path in sorted((REPOSITORY / folder).rglob("*.py")):
            name = str(path.relative_to(REPOSITORY))
            bad = [one for one in _dangers(path.read_text()) if (name, one) not in ALLOWED]
            if bad:
                found[name] = bad
    assert found == {}


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from joblib import load",
        "from importlib import import_module",
        "torch.load(path, weights_only=True)",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "np.lib.format.read_array(file, allow_pickle=flag)",
        "yaml.load(text, Loader=yaml.SafeLoader)",
        "subprocess.run(line, shell=True)",
        "subprocess.Popen(line, shell=flag)",
        "os.system(line)",
        "eval(text)",
        "exec(text)",
        "__import__(name)",
        "importlib.import_module(name)",
    ],
)
def test_a_breach_is_found(line: str) -> None:
    assert _dangers(line)


@pytest.mark.parametrize(
    "line", ["np.load(path, allow_pickle=False)", "subprocess.run([a], shell=False)", "re.compile(a)"]
)
def test_what_is_safe_is_let_be(line: str) -> None:
    assert _dangers(line) == []
