"""Completion of command lines in bash and zsh.

eval "$(simsurrogate completion)"       # in ~/.bashrc; in zsh after `autoload bashcompinit; bashcompinit`
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from typing import Any

import yaml

from simsurrogate.discovery import installed_entry_points

#: Keys whose value is the name of a YAML, with the folder of the YAML.
_GROUPS = ("solver", "surrogate", "experiment", "launcher")
_CHAIN_COMMANDS = ("check", "probe", "status", "wait", "resume", "cancel")

#: `=` ends no word, so that the completed word is the whole KEY=VALUE.
_SCRIPT = """\
_simsurrogate() {
    local IFS=$'\\n'
    COMPREPLY=($(simsurrogate completion -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
COMP_WORDBREAKS=${COMP_WORDBREAKS//=}
complete -o nospace -o default -F _simsurrogate simsurrogate
"""


def main(arguments: Sequence[str], commands: Sequence[str]) -> None:
    """Print the shell function, or after `--` the continuations of the words of a command line.

    `commands` are the commands of `simsurrogate`.
    """
    if arguments[:1] != ["--"]:
        print(_SCRIPT, end="")
        return
    for word in continuations(arguments[1:] or [""], commands):
        print(word)


def continuations(words: Sequence[str], commands: Sequence[str]) -> list[str]:
    """Return the continuations of the last of `words`, those after the name of the program.

    A complete word ends with a space; a key ends with `=`.
    """
    *earlier_words, last_word = words
    if not earlier_words:
        candidates = [f"{command} " for command in commands]
    elif "=" in last_word:
        key = last_word.partition("=")[0]
        candidates = [f"{key}={name} " for name in _names(key)] if key in _GROUPS else []
    else:
        candidates = [f"{key}=" for key in _keys(earlier_words)]
        if earlier_words == ["chain"]:
            candidates += [f"{command} " for command in _CHAIN_COMMANDS]
    return sorted(candidate for candidate in candidates if candidate.startswith(last_word))


def _names(group: str) -> Iterator[str]:
    """Yield the names of the shipped YAMLs of a group, and those that installed packages announce."""
    folders = [("", files("configs") / group)]
    for prefix, folder in folders:
        for path in folder.iterdir():
            if path.name.endswith(".yaml"):
                yield prefix + path.name.removesuffix(".yaml")
            elif path.is_dir() and not path.name.startswith("_"):
                folders.append((f"{prefix}{path.name}/", path))
    yield from (entry_point.name for entry_point in installed_entry_points(f"{group}s"))


def _keys(words: Sequence[str]) -> Iterator[str]:
    """Yield all keys of the configuration, with the options of the chosen or default solver and surrogate."""
    root = _content("config.yaml")
    chosen: dict[str, str] = {}
    for entry in root.pop("defaults"):
        chosen |= entry if isinstance(entry, dict) else {}
    chosen |= dict(word.split("=", 1) for word in words if "=" in word)
    yield from _GROUPS
    yield from _dotted_keys({key: value for key, value in root.items() if key != "hydra"})
    for group in ("solver", "surrogate", "launcher"):
        yield from _dotted_keys(_content(f"{group}/{chosen[group]}.yaml"), f"{group}.")


def _content(name: str) -> dict[str, Any]:
    """Return the content of a shipped YAML; empty for a YAML of the user's own."""
    path = files("configs").joinpath(*name.split("/"))
    return dict(yaml.safe_load(path.read_text(encoding="utf-8")) or {}) if path.is_file() else {}


def _dotted_keys(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield the keys of nested mappings: `samples.train`."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _dotted_keys(value, f"{prefix}{key}.")
        elif key not in ("defaults", "name"):
            yield f"{prefix}{key}"
