"""Lookup of classes by name: in the shipped packages, in installed packages, or in a user's file."""

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

    The module `PACKAGE/NAME.py` or the package `PACKAGE/NAME/` defines one class of the same name. For
    example, `pi_deeponet` defines `PIDeepONet`. Installed packages announce further classes by entry points
    of the group `simsurrogate.PACKAGE`.

    Args:
        kind: the word for a member of the family in messages, for example `solver`.
        package: the package of the shipped members.
        base: the abstract base class of all members.
    """

    def __init__(self, kind: str, package: str, base: type[Class]):
        self.kind, self.package, self.base = kind, package, base

    def names(self) -> list[str]:
        """Return the names of all shipped and installed members."""
        shipped_names = {
            name for name in self._modules() if self._class_in(self._import_module(name), name) is not None
        }
        return sorted(shipped_names | installed_entry_points(self.package).names)

    def find(self, name: str, path: Path | None = None) -> type[Class]:
        """Return the class with this name; with `path`, the class in the user's file `path`.

        Loading executes the file. A path therefore comes only from the user's command line or YAML.

        Raises:
            UserError: no class or several classes match.
        """
        if path is not None:
            if name in self._modules():
                raise UserError(
                    f"{self.kind}.path={path}: {name} is the name of an installed {self.kind}. A file of "
                    f"your own needs a different name. Rename the file, or type {self.kind}.name=NAME"
                )
            return self._class_in_file(path, name)
        if name in self._modules():
            member = self._class_in(self._import_module(name), name)
            if member is not None:
                return member
        for entry_point in installed_entry_points(self.package).select(name=name):
            member = entry_point.load()
            if not (isinstance(member, type) and issubclass(member, self.base)):
                raise UserError(
                    f"{self.kind}={name}: the entry point {entry_point.value} of an installed package is not "
                    f"a {self.base.__name__}. Its class must inherit from "
                    f"{self.base.__module__}.{self.base.__name__}. Correct or uninstall the package, or type "
                    f"{self.kind}=NAME"
                )
            return member
        raise UserError(
            f"{self.kind} {name!r} is not one of {', '.join(self.names())}. Choose one of these names. For a "
            f"file of your own, type {self.kind}.path=FILE.py"
        )

    def _modules(self) -> list[str]:
        package = importlib.import_module(self.package)
        return sorted(module.name for module in pkgutil.iter_modules(package.__path__))

    def _import_module(self, name: str) -> ModuleType:
        return importlib.import_module(f"{self.package}.{name}")

    def _class_in(self, module: ModuleType, name: str) -> type[Class] | None:
        """Return the member with the name of the module, if any; case and underscores are ignored."""
        return next(iter(_members_named(name, self._members(module))), None)

    def _class_in_file(self, path: Path, name: str) -> type[Class]:
        module = _import_file(path, self.kind)
        members = self._members(module)
        matches = _members_named(name, members)
        if len(matches or members) != 1:
            names = ", ".join(member.__name__ for member in members) or "none"
            imported_classes = [] if members else self._concrete_classes(module)
            hint = "".join(
                f" (the file imports {member.__name__} from {member.__module__}: use that file)"
                for member in imported_classes
            )
            raise UserError(
                f"{self.kind}.path={path}: the file defines these subclasses of {self.base.__name__}: {names}"
                f"{hint}. One subclass is allowed, or several with a chosen name. Type "
                f"{self.kind}.name=CLASS, or name another file"
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


def installed_entry_points(package: str) -> EntryPoints:
    """Return the entry points of the members that installed packages announce for `package`."""
    return entry_points(group=f"simsurrogate.{package}")


def _members_named(name: str, members: list[type[Class]]) -> list[type[Class]]:
    """Return the members with this name; case and underscores are ignored."""
    return [member for member in members if member.__name__.lower() == name.replace("_", "").lower()]


def _import_file(path: Path, kind: str) -> ModuleType:
    """Import a user's file once, under a name that does not shadow an installed module."""
    path = path.expanduser().resolve()
    if not path.is_file() or path.suffix != ".py":
        raise UserError(
            f"{kind}.path={path}: the file does not exist, or its name does not end in .py. A Python file "
            f"is needed. Type {kind}.path=FILE.py"
        )
    name = f"simsurrogate_user_{kind}_{path.stem}"
    module = sys.modules.get(name)
    if module is not None and module.__file__ == str(path):
        return module
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses with postponed annotations look up the module during the execution of the module.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
