"""The refusal of a launcher's words that YAML or Hydra reads as other values.

YAML reads `12:00:00` as 43200, `0123` as 83 and `on` as true. Slurm should receive the words of the user.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser

from simsurrogate.errors import UserError

#: The files of a user's configuration folder that may hold settings of a launcher.
_FILES = ("*.yaml", "launcher/**/*.yaml", "experiment/**/*.yaml")


def refuse_misread_words(launcher: Mapping[str, Any]) -> None:
    """Refuse the values of the section `launcher` that the user wrote as other words.

    Raises:
        UserError: each word that was read as another value, one per line.
    """
    if not HydraConfig.initialized():
        return
    values = dict(_numbers_and_flags(launcher, ("launcher",)))
    lines = [*_misread_in_files(values), *_misread_on_command_line()]
    if lines:
        raise UserError("\n".join(lines))


def _misread_in_files(values: Mapping[tuple[str, ...], int | bool]) -> Iterator[str]:
    sources = HydraConfig.get().runtime.config_sources
    folders = [Path(source.path) for source in sources if source.schema == "file"]
    for path in sorted({path for folder in folders for pattern in _FILES for path in folder.glob(pattern)}):
        for keys, node in _unquoted_scalars(path):
            for full_keys, value in values.items():
                if full_keys[-len(keys) :] == keys and _is_misread(node.value, value):
                    word = node.value
                    yield (
                        f"{'.'.join(full_keys)}={value}: {path}, line {node.start_mark.line + 1}, has the "
                        f"unquoted word {word}, which YAML reads as {_yaml_text(value)}. Words with quotes "
                        f"stay as written. Write {keys[-1]}: {word!r}, or {keys[-1]}: {_yaml_text(value)}"
                    )


def _misread_on_command_line() -> Iterator[str]:
    """Yield a message for each integer that was typed in another notation, such as 1_000."""
    overrides = [str(override) for override in HydraConfig.get().overrides.task]
    for override in OverridesParser.create().parse_overrides(overrides):
        key, text = override.key_or_group, str(override.input_line)
        if key.partition(".")[0] != "launcher" or override.is_sweep_override():
            continue
        for _, value in _numbers_and_flags({key: override.value()}, ()):
            if not isinstance(value, bool) and not re.search(rf"(?<![\w.:+-]){value}(?![\w.:])", text):
                yield (
                    f"{text} contains a word that is read as the number {value}. Words with quotes stay as "
                    f"written. Type \"{key}='WORD'\", or {key}={value}"
                )


def _numbers_and_flags(
    section: Mapping[str, Any], keys: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], int | bool]]:
    """Yield the keys and the value of each integer and flag in a section and in its subsections."""
    for key, value in section.items():
        if isinstance(value, Mapping):
            yield from _numbers_and_flags(value, (*keys, str(key)))
        elif isinstance(value, int):
            yield (*keys, str(key)), value


def _unquoted_scalars(path: Path) -> Iterator[tuple[tuple[str, ...], yaml.ScalarNode]]:
    """Yield the keys and the node of each scalar without quotes in the mappings of a YAML."""
    try:
        root = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except (OSError, ValueError, yaml.YAMLError):
        # Hydra reports the mistakes in the files that it reads.
        return
    nodes: list[tuple[tuple[str, ...], Any]] = [((), root)]
    while nodes:
        keys, node = nodes.pop()
        if isinstance(node, yaml.MappingNode):
            nodes += [((*keys, str(key.value)), value) for key, value in node.value]
        elif isinstance(node, yaml.ScalarNode) and keys and node.style is None:
            yield keys, node


def _is_misread(word: str, value: int | bool) -> bool:
    """Return whether a word is read as the value, and is not the usual notation of the value."""
    read_value = yaml.safe_load(word)
    return type(read_value) is type(value) and read_value == value and word.lower() != _yaml_text(value)


def _yaml_text(value: int | bool) -> str:
    return str(value).lower()
