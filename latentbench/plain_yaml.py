"""YAML without surprises: what it cannot say plainly is text, or refused.

Numbers are plain decimals: not `010` (8 in YAML 1.1), `1:30` (90), `0x1F`, `1_000` or `.inf`. The
only booleans are `true` and `false`, and there are no dates: `--set encoder.dither=off` means the
word, and so does a folder called 2024-01-31. A key that is given twice, an alias, a tag and deep
nesting are errors.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["DEEPEST", "load", "written"]

DEEPEST = 16
LONGEST_INTEGER = 4000


def load(text: str) -> Any:
    """The value of a YAML document.

    Raises:
        yaml.YAMLError: it is none, or says what is refused here.
    """
    return yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader with fewer types


def written(value: Any) -> Any:
    """A number as it was written, e.g. `2024` where a name is wanted; anything else as it is."""
    return getattr(value, "text", value)


class _Int(int):
    text: str


class _Float(float):
    text: str


class _Loader(yaml.SafeLoader):
    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        mark = self.peek_event().start_mark  # type: ignore[no-untyped-call] # PyYAML's
        if self.check_event(yaml.AliasEvent):
            raise yaml.composer.ComposerError(None, None, "an alias: write the value out", mark)
        if self.depth == DEEPEST:
            raise yaml.composer.ComposerError(None, None, "nested too deeply", mark)
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002 - PyYAML's signature
        seen = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"'{key.value}' is given twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _number(kind: type[_Int | _Float]) -> Callable[[Any, yaml.ScalarNode], Any]:
    def construct(_: Any, node: yaml.ScalarNode) -> Any:
        try:
            number = kind(node.value)
        except ValueError as error:  # a tag: `!!int x`
            raise yaml.constructor.ConstructorError(
                None, None, str(error), node.start_mark
            ) from None
        number.text = node.value
        return number

    return construct


def _tag(name: str) -> str:
    return f"tag:yaml.org,2002:{name}"


# Type -> what it looks like, and the characters it may begin with.
_LOOKS = {
    "int": (rf"[-+]?(?:0|[1-9][0-9]{{0,{LONGEST_INTEGER}}})", [*"-+0123456789"]),
    "float": (
        r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?",
        [*"-+.0123456789"],
    ),
    "bool": ("true|True|TRUE|false|False|FALSE", [*"tTfF"]),
    "null": ("~|null|Null|NULL|", ["~", "n", "N", ""]),
}
_Loader.yaml_implicit_resolvers = {}
for _name, (_pattern, _first) in _LOOKS.items():
    _Loader.add_implicit_resolver(_tag(_name), re.compile(f"(?:{_pattern})$"), _first)
_Loader.yaml_constructors = {
    _tag("int"): _number(_Int),
    _tag("float"): _number(_Float),
    _tag("bool"): lambda _, node: node.value.lower() == "true",
    **{
        tag: yaml.SafeLoader.yaml_constructors[tag]
        for tag in (*map(_tag, ("null", "str", "seq", "map")), None)
    },
}
