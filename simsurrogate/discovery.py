"""Classes by name: from the shipped packages, from installed packages, or from a user's file."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import pkgutil
import sys
from importlib.metadata import EntryPoints, entry_points
from pathlib import Path
from types import ModuleType
from typing import Generic, TypeVar

from simsurrogate.errors import UserError

Class = TypeVar("Class")


class Family(Generic[Class]):
    """The concrete subclasses of `base`, by the names of their modules.

    The module `PACKAGE/NAME.py` or the package `PACKAGE/NAME/` holds one class of that name: `pi_deeponet`
    holds `PIDeepONet`. Installed packages announce further classes by the entry points of the group
    `simsurrogate.PACKAGE`.

    Args:
        kind: the word for a member in messages, for example `solver`.
        package: the package of the shipped members.
        base: the abstract base class of all members.
    """

    def __init__(self, kind: str, package: str, base: type[Class]):
        self.kind, self.package, self.base = kind, package, base

    def names(self) -> list[str]:
        """Return the names of all members, without those in users' files."""
        shipped = {name for name in self._modules() if self._class_in(self._import(name), name) is not None}
        return sorted(shipped | announced(self.package).names)

    def find(self, name: str, path: Path | None = None) -> type[Class]:
        """Return the class of this name; with `path`, the class in the user's file `path`.

        The code of the file runs, so a path comes only from the user's command line or YAML.

        Raises:
            UserError: no class has this name.
        """
        if path is not None:
            if name in self._modules():
                raise UserError(
                    f"{self.kind}.path={path}: {name} is a shipped {self.kind}. A file of your own "
                    f"needs another name. Rename the file, or type {self.kind}.name=NAME"
                )
            return self._class_in_file(path, name)
        if name in self._modules():
            member = self._class_in(self._import(name), name)
            if member is not None:
                return member
        for point in announced(self.package).select(name=name):
            member = point.load()
            if not (isinstance(member, type) and issubclass(member, self.base)):
                raise UserError(
                    f"{self.kind}={name}: the entry point {point.value} of an installed package is no "
                    f"{self.base.__name__}; its class has to inherit from {self.base.__module__}."
                    f"{self.base.__name__}"
                )
            return member
        raise UserError(
            f"{self.kind} {name!r} is not one of {', '.join(self.names())}. For a file of your own, type "
            f"{self.kind}.path=FILE.py"
        )

    def _modules(self) -> list[str]:
        package = importlib.import_module(self.package)
        return sorted(module.name for module in pkgutil.iter_modules(package.__path__))

    def _import(self, name: str) -> ModuleType:
        return importlib.import_module(f"{self.package}.{name}")

    def _class_in(self, module: ModuleType, name: str) -> type[Class] | None:
        """Return the member with the name of the module (without case and underscores), if any."""
        return next(iter(_named(name, self._members(module))), None)

    def _class_in_file(self, path: Path, name: str) -> type[Class]:
        module = _module_of(path, self.kind)
        members = self._members(module)
        matches = _named(name, members)
        if len(matches or members) != 1:
            names = ", ".join(member.__name__ for member in members) or "none"
            imported = [] if members else self._concrete_classes(module)
            hint = "".join(
                f"; the file imports {member.__name__} from {member.__module__}, name that file"
                for member in imported
            )
            raise UserError(
                f"{self.kind}.path={path}: the file has to define one {self.base.__name__}, found: {names}"
                f"{hint}. With several, type {self.kind}.name=CLASS"
            )
        return (matches or members)[0]

    def _members(self, module: ModuleType) -> list[type[Class]]:
        """Return the concrete subclasses that the module or package defines."""
        return [
            member
            for member in self._concrete_classes(module)
            if f"{member.__module__}.".startswith(f"{module.__name__}.")
        ]

    def _concrete_classes(self, module: ModuleType) -> list[type[Class]]:
        """Return the concrete subclasses that the module or package defines or imports."""
        return [
            member
            for member in vars(module).values()
            if isinstance(member, type) and issubclass(member, self.base) and not inspect.isabstract(member)
        ]


def announced(package: str) -> EntryPoints:
    """Return the entry points of the members that installed packages announce for `package`."""
    return entry_points(group=f"simsurrogate.{package}")


def _named(name: str, members: list[type[Class]]) -> list[type[Class]]:
    """Return the members of this name; case and underscores do not count."""
    return [member for member in members if member.__name__.lower() == name.replace("_", "").lower()]


def _module_of(path: Path, kind: str) -> ModuleType:
    """Import a user's file once, under a name that shadows no installed module."""
    path = path.expanduser().resolve()
    if not path.is_file() or path.suffix != ".py":
        raise UserError(f"{kind}.path={path}: there is no such Python file. Name a file that ends in .py")
    name = f"simsurrogate_user_{kind}_{path.stem}"
    module = sys.modules.get(name)
    if module is not None and module.__file__ == str(path):
        return module
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses with postponed annotations look up their module during its execution.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
