"""A hash of the source code of a solver or surrogate, for the identity of data sets, models and evaluations.

The hash covers the module of the class and all modules that it imports, directly or indirectly, from the same
package, from the same folder, or from `solvers`, `surrogates` and `simsurrogate`. Comments, docstrings and
the layout of the code have no influence.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path

_PACKAGES = {"solvers", "surrogates", "simsurrogate"}


def source_hash(cls: type) -> str:
    """Return the hash of the sources of a class, or an empty text for a class without a source file."""
    file = getattr(sys.modules[cls.__module__], "__file__", None)
    return "" if file is None else _source_hash(cls.__module__, Path(file))


@cache
def _source_hash(module: str, file: Path) -> str:
    """Return the hash of the sources of a module."""
    package, _, submodule = module.partition(".")
    folders = _package_folders(_PACKAGES | {package} if submodule else _PACKAGES)
    trees: dict[str, ast.Module] = {}
    pending = {module: file}
    while pending:
        name, path = pending.popitem()
        trees[name] = ast.parse(path.read_bytes())
        for imported_name in _imported_names(trees[name], _package_of(name, path)):
            imported_file = _module_file(imported_name, folders, file.parent)
            if imported_file is not None and imported_name not in trees:
                pending[imported_name] = imported_file
    checksum = hashlib.sha256()
    for name in sorted(trees):
        checksum.update(f"{name}\n{_text_of(trees[name])}\n".encode())
    return checksum.hexdigest()


def _package_folders(packages: set[str]) -> dict[str, Path]:
    """Return the folder of each package."""
    specs = {name: importlib.util.find_spec(name) for name in packages}
    return {name: Path(spec.origin).parent for name, spec in specs.items() if spec and spec.origin}


def _package_of(name: str, path: Path) -> str:
    """Return the package that relative imports of a module start from."""
    return name if path.stem == "__init__" else name.rpartition(".")[0]


def _imported_names(tree: ast.Module, package: str) -> Iterator[str]:
    """Yield the names of all modules that a module may import, in functions too.

    Imports for annotations alone, under `if TYPE_CHECKING:`, are never executed.
    """
    pending: list[ast.AST] = [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            pending += node.orelse
            continue
        pending += ast.iter_child_nodes(node)
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            relative_name = "." * node.level + (node.module or "")
            # An import from outside the package fails. The module then imports something else, or is broken.
            with suppress(ImportError):
                module = (
                    importlib.util.resolve_name(relative_name, package or None)
                    if node.level
                    else relative_name
                )
                yield from (module, *(f"{module}.{alias.name}" for alias in node.names))


def _module_file(name: str, package_folders: Mapping[str, Path], own_folder: Path) -> Path | None:
    """Return the file of a module in one of the packages or in the folder of the class, or None.

    No module is imported, because imports take seconds.
    """
    package, *submodules = name.split(".")
    is_installed = {"site-packages", "dist-packages"} & set(own_folder.parts)
    folder = package_folders.get(package, None if is_installed else own_folder / package)
    if folder is None:
        return None
    path = folder.joinpath(*submodules)
    files = (path / "__init__.py", path.parent / f"{path.name}.py")
    return next((file for file in files if file.is_file()), None)


def _text_of(node: object) -> str:
    """Return a text of a syntax tree without docstrings, the same for all versions of Python.

    `ast.dump` is not the same for all versions. Empty attributes, which a version may add, are left out.
    """
    if isinstance(node, list):
        return f"[{','.join(map(_text_of, node))}]"
    if not isinstance(node, ast.AST):
        return repr(node)
    attributes = {
        name: value for name, value in ast.iter_fields(node) if name != "kind" and value not in (None, [])
    }
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and (
        ast.get_docstring(node, clean=False) is not None
    ):
        attributes["body"] = node.body[1:]
    content = ",".join(f"{name}={_text_of(value)}" for name, value in attributes.items())
    return f"{type(node).__name__}({content})"
