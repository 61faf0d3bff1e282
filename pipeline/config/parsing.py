"""Options parsed by pydantic models, and one message for each wrong option in this project's own words."""

from __future__ import annotations

import dataclasses
import difflib
import math
import types
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ValidationError

from simsurrogate.errors import UserError

#: The words of plain types in messages.
_TYPE_WORDS = {
    int: "an integer",
    float: "a number",
    bool: "true or false",
    str: "a text",
    Path: "a path",
    type(None): "null",
}
#: The words of the bounds that `annotated_types` declares, by the name of the attribute.
_BOUND_WORDS = {
    "gt": "greater than {}",
    "ge": "of at least {}",
    "lt": "less than {}",
    "le": "of at most {}",
    "min_length": "with at least {} items",
    "max_length": "with at most {} items",
}
#: The largest number of characters of a value in a message.
_MAX_VALUE_LENGTH = 60


def validated_model(model: type[Any], options: Mapping[str, Any], prefix: str) -> Any:
    """Return an instance of the pydantic model.

    Raises:
        UserError: each wrong key, type or value, one per line; `prefix` precedes each key.
    """
    try:
        instance = model.model_validate(options)
    except ValidationError as error:
        lines = [_mistake_line(issue, model, options, prefix) for issue in error.errors()]
        raise UserError("\n".join(dict.fromkeys(lines))) from None
    mistakes = list(_value_mistakes(options, instance.model_dump(), prefix.rstrip(".")))
    if mistakes:
        raise UserError("\n".join(mistakes))
    return instance


def nearest(key: str, legal_keys: Sequence[str]) -> str:
    """Return the part of a message that names the nearest legal keys."""
    if not legal_keys:
        return "type + before the key to add it"
    close_keys = difflib.get_close_matches(key, legal_keys, n=1, cutoff=0.5)
    return f"did you mean {close_keys[0]!r}?" if close_keys else f"legal are {', '.join(sorted(legal_keys))}"


def union_members(hint: Any) -> dict[str, type[Any]]:
    """Return the dataclasses of a union by their `kind: Literal[...]`; empty for every other type."""
    hint = _without_annotations(hint)
    members: dict[str, type[Any]] = {}
    for member in _alternatives(hint):
        kind = get_type_hints(member).get("kind") if dataclasses.is_dataclass(member) else None
        if get_origin(kind) is not Literal:
            return {}
        members |= dict.fromkeys(get_args(kind), member)
    return members


def _value_mistakes(raw_value: Any, parsed_value: Any, key: str) -> Iterator[str]:
    """Yield a message for each value that pydantic accepts and this project does not."""
    if isinstance(raw_value, Mapping) and isinstance(parsed_value, Mapping):
        for name in raw_value.keys() & parsed_value.keys():
            yield from _value_mistakes(raw_value[name], parsed_value[name], f"{key}.{name}" if key else name)
    elif words := _restriction(raw_value, parsed_value):
        yield _refusal(key, raw_value, words)


def _restriction(raw_value: Any, parsed_value: Any) -> str:
    """Return the words of the rule that a value or an item of a list breaks; empty without such a rule."""
    if isinstance(raw_value, Mapping) and isinstance(parsed_value, Mapping):
        names = [name for name in raw_value if name in parsed_value]
        raw_value, parsed_value = ([values[name] for name in names] for values in (raw_value, parsed_value))
    if isinstance(raw_value, list) and isinstance(parsed_value, (list, tuple)):
        return next(filter(None, map(_restriction, raw_value, parsed_value)), "")
    if isinstance(parsed_value, float) and not math.isfinite(parsed_value):
        return "finite"
    if isinstance(raw_value, bool) and not isinstance(parsed_value, bool):
        return "a number, not true or false"
    if isinstance(raw_value, float) and isinstance(parsed_value, int):
        return f"an integer such as {parsed_value}, without a decimal point or an exponent"
    if isinstance(raw_value, str) and not raw_value.strip():
        return "a text that is not blank (an unset shell variable leaves an empty text)"
    return ""


def _refusal(key: str, value: Any, allowed_words: str) -> str:
    """Return the message about a value of another type or range."""
    return (
        f"{key}={_value_text(value)} is not allowed. The value must be {allowed_words}. "
        f"Type {key}=VALUE with such a value"
    )


def _value_text(value: Any) -> str:
    text = "null" if value is None else repr(value)
    half = _MAX_VALUE_LENGTH // 2
    return text if len(text) <= _MAX_VALUE_LENGTH else f"{text[:half]}...{text[-half:]}"


def _mistake_line(issue: Any, model: type[BaseModel], options: Mapping[str, Any], prefix: str) -> str:
    place = _place_of(model, [str(part) for part in issue["loc"]], options)
    key = prefix + ".".join(place.path)
    if issue["type"] in ("extra_forbidden", "unexpected_keyword_argument") or issue["loc"][-1] == "[key]":
        return f"{key}: there is no such key; {nearest(place.path[-1], place.siblings)}"
    if issue["type"] in ("missing", "union_tag_not_found") and not isinstance(place.value, list):
        name = key if issue["type"] == "missing" else f"{key}.kind"
        return f"{name} is missing. The key is required. Type {name}=VALUE"
    if issue["type"] == "union_tag_invalid":
        kind, kinds = issue["ctx"]["tag"], issue["ctx"]["expected_tags"].replace("'", "").split(", ")
        return f"{key}.kind={kind!r}: there is no such kind; {nearest(kind, kinds)}"
    if issue["type"] == "value_error":
        return f"{key}={_value_text(place.value)}: {issue['msg'].removeprefix('Value error, ')}"
    members = _fields_of(place.hint)
    if members:
        return (
            f"{key}={_value_text(place.value)} takes the place of a section. The section {key} has the keys "
            f"{', '.join(members)}. Type {key}.{next(iter(members))}=VALUE, for example"
        )
    return _refusal(key, place.value, _words_of(place.hint))


@dataclasses.dataclass
class _Place:
    """The place of a wrong value: its key, the legal keys next to it, its type and the value there."""

    path: list[str]
    siblings: list[str]
    hint: Any
    value: Any


def _place_of(model: Any, location: list[str], options: Mapping[str, Any]) -> _Place:
    """Return the place of pydantic's location: the key that a user can type.

    Tags of unions are left out. A mistake in an item of a list is a mistake of the whole list, unless the
    items are sections.
    """
    place = _Place([], [], model, options)
    members: Mapping[str, Any] = {}
    for key in location:
        if key == "[key]":
            break
        if members:
            # The tag of a dataclass in a union.
            place.hint, members = members.get(key), {}
            continue
        fields = _fields_of(place.hint)
        if fields or not place.path:
            place.siblings = list(fields)
            place.hint = fields.get(key)
        elif _is_mapping(place.hint):
            place.siblings = _literal_values(get_args(_without_annotations(place.hint))[0])
            place.hint = _item_hints(place.hint)[0]
        elif key.isdigit() and any(map(_fields_of, _item_hints(place.hint))):
            place.hint = _item_hints(place.hint)[0]
            place.path[-1] += f"[{key}]"
            place.value = place.value[int(key)]
            continue
        else:
            break
        place.path.append(key)
        place.value = place.value.get(key) if isinstance(place.value, Mapping) else None
        members = union_members(place.hint)
    return place


def _fields_of(hint: Any) -> dict[str, object]:
    """Return the types of a pydantic model's or a dataclass's fields by name."""
    hint = _without_annotations(hint)
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        return {
            name: _annotated(field.annotation, [field] if field.description else field.metadata)
            for name, field in hint.model_fields.items()
        }
    if dataclasses.is_dataclass(hint):
        return get_type_hints(hint, include_extras=True)
    members = union_members(hint)
    return {"kind": Literal[tuple(members)]} if members else {}


def _annotated(hint: Any, metadata: list[Any]) -> Any:
    return Annotated[hint, *metadata] if metadata else hint


def _item_hints(hint: Any) -> list[Any]:
    """Return the types of the items of a list or a tuple, or of the values of a mapping."""
    hint = _without_annotations(hint)
    origin, arguments = get_origin(hint), [item for item in get_args(hint) if item is not Ellipsis]
    if _is_mapping(hint):
        return arguments[1:]
    return arguments if isinstance(origin, type) and issubclass(origin, Sequence) else []


def _literal_values(hint: Any) -> list[str]:
    """Return the values of a literal type or of a union of literal types."""
    alternatives = _alternatives(hint)
    if alternatives:
        return [value for alternative in alternatives for value in _literal_values(alternative)]
    return [str(value) for value in get_args(hint)] if get_origin(hint) is Literal else []


def _is_mapping(hint: Any) -> bool:
    origin = get_origin(_without_annotations(hint))
    return isinstance(origin, type) and issubclass(origin, Mapping)


def _alternatives(hint: Any) -> tuple[Any, ...]:
    """Return the alternatives of a union; none for every other type."""
    hint = _without_annotations(hint)
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else ()


def _without_annotations(hint: Any) -> Any:
    return _without_annotations(get_args(hint)[0]) if get_origin(hint) is Annotated else hint


def _words_of(hint: Any) -> str:
    """Return the words for the values of a type, such as `an integer greater than 0`."""
    if get_origin(hint) is Annotated:
        base, *metadata = get_args(hint)
        descriptions = [item.description for item in metadata if getattr(item, "description", None)]
        if descriptions:
            return str(descriptions[0])
        separator = ", " if _item_hints(base) else " "
        return separator.join([_words_of(base), *filter(None, [_bound_words(metadata)])])
    if get_origin(hint) is Literal:
        return " or ".join(map(str, get_args(hint)))
    if _alternatives(hint):
        return ", or ".join(dict.fromkeys(map(_words_of, _alternatives(hint))))
    items = _item_hints(hint)
    if items:
        return _container_words(hint, items)
    return _TYPE_WORDS.get(hint, f"a value of the type {getattr(hint, '__name__', hint)}")


def _container_words(hint: Any, items: Sequence[Any]) -> str:
    """Return the words for the values of a list, a tuple or a mapping."""
    item_words = list(dict.fromkeys(map(_words_of, items)))
    if _is_mapping(hint):
        return f"a mapping whose values are each {item_words[0]}"
    is_tuple = get_origin(hint) is tuple and Ellipsis not in get_args(hint)
    count_words = f"{len(items)} items" if is_tuple else "items"
    if len(item_words) > 1:
        return f"a list of {count_words}: {', then '.join(map(_words_of, items))}"
    return f"a list of {count_words}, each {item_words[0]}"


def _bound_words(metadata: Sequence[Any]) -> str:
    """Return the words of the bounds in the annotations of a type."""
    constraints = [part for item in metadata for part in (item, *getattr(item, "metadata", ()))]
    words = [
        text.format(getattr(constraint, name))
        for constraint in constraints
        for name, text in _BOUND_WORDS.items()
        if isinstance(getattr(constraint, name, None), (int, float))
    ]
    return " and ".join(words)
