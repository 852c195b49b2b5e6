"""Components given from Python: a class, a factory or a spec in the place of a name.

`adopt` puts a name in the place of each object and a component of that name beside those of the
registry. Such a component is told from others of its name by a digest of its code, which is part
of the configuration: a run of a class that was changed since is another run.
"""

from __future__ import annotations

import hashlib
import inspect
import re
import secrets
import sys
import sysconfig
from dataclasses import is_dataclass
from functools import partial
from pathlib import Path
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, get_type_hints

from latentbench.config import COMPONENTS
from latentbench.errors import UsageError
from latentbench.plugins import Component, Provider
from latentbench.specs import KINDS, ComponentSpec, CorpusSpec, NoOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from latentbench.corpora import Corpus
    from latentbench.plugins import Registry

__all__ = ["adopt", "code_digest", "held_corpus", "lasting_digest"]

WHERE = Provider("Python", "", "")
NO_NAME = re.compile(r"[^A-Za-z0-9._:-]+|^[^A-Za-z0-9]+")
PLAIN = (str, bytes, int, float, bool, type(None))
HEX = 12
STDLIB = sysconfig.get_paths()["stdlib"]
SITES = {"site-packages", "dist-packages"}


def adopt(layer: Mapping[str, Any], registry: Registry) -> tuple[dict[str, Any], Registry]:
    """Name the components of a layer that are Python objects.

    Args:
        layer: of the configuration, with an object wherever the name of a component may stand.
        registry: everything else that can be named.

    Returns:
        The layer with names alone, and the registry with what they name.

    Raises:
        UsageError: an object is no component of its kind, or has the name of another one.
    """
    found: dict[tuple[str, str], Component] = {}
    made: dict[int, Component] = {}  # of one object one component, whatever its code

    def named(kind: str, given: Any) -> Any:
        if isinstance(given, str):
            return given
        if isinstance(given, dict):
            return {**given, "name": named(kind, given["name"])} if "name" in given else given
        if isinstance(given, (int, float, list, tuple, type(None))):
            return given  # the configuration says what is wrong with it
        component = made.setdefault(id(given), _component(kind, given))
        name = component.spec.name
        if found.setdefault((kind, name), component) != component:
            raise UsageError(f"Two different {kind}s called '{name}' are given.", "Rename one.")
        return name

    whole = dict(layer)
    for section, kind in COMPONENTS.items():
        if section in whole:
            whole[section] = named(kind, whole[section])
    if "transforms" in whole:
        whole["transforms"] = [named("transform", one) for one in whole["transforms"]]
    if "metrics" in whole.get("evaluation", ()):
        metrics = [named("metric", one) for one in whole["evaluation"]["metrics"]]
        whole["evaluation"] = {**whole["evaluation"], "metrics": metrics}
    return whole, registry.beside(_unknown(found.values(), registry))


def held_corpus(corpus: Corpus) -> Component:
    """A corpus that is made already, told from others by the digest of all that is in it."""

    def given(*_: object) -> Corpus:
        return corpus

    summary = "held in memory, given from Python"
    spec = CorpusSpec(name=corpus.name, summary=summary, factory=given)
    said = [(one.id, one.speaker, one.source.digest()) for one in corpus.utterances()]
    digest = hashlib.sha256(repr((said, corpus.latents)).encode()).hexdigest()
    return Component(spec, WHERE, digest[:HEX])


def _unknown(components: Iterable[Component], registry: Registry) -> Iterator[Component]:
    """Those that the registry does not hold; a plugin may be named by its own spec."""
    for one in components:
        kind, name = one.spec.kind, one.spec.name
        of_name = [known for known in registry.of_kind(kind) if known.spec.name == name]
        if any(known.spec == one.spec for known in of_name):
            continue
        if of_name:
            raise UsageError(
                f"The {kind} given from Python is called '{name}', as {of_name[0]} is.",
                "Give it another name: that of a class or function is its own.",
            )
        yield one


def _component(kind: str, given: Any) -> Component:
    if isinstance(given, Component):
        return given
    spec = given if isinstance(given, ComponentSpec) else getattr(given, "spec", None)
    if isinstance(spec, ComponentSpec):
        if spec.kind != kind:
            raise UsageError(f"'{spec.name}' is a {spec.kind}; a {kind} is wanted here.")
        return Component(spec, WHERE, code_digest(given))
    if not callable(given):
        raise UsageError(
            f"{given!r} is no {kind}.",
            f"Give a name, a class, a factory or a {KINDS[kind].__name__}.",
        )
    what = given.func if isinstance(given, partial) else given
    called = getattr(what, "__name__", type(what).__name__)
    declared: dict[str, Any] = {}
    if kind == "predictor" and hasattr(given, "density"):
        declared["density"] = given.density
    if kind == "encoder" and hasattr(given, "decode"):
        declared["decodes"] = given.decode.__qualname__ != "Encoder.decode"
    made = KINDS[kind](
        name=NO_NAME.sub("", called) or kind,
        summary=(inspect.getdoc(what) or f"a {kind} given from Python").partition("\n")[0],
        factory=given,
        options=_options(given),
        **declared,
    )
    return Component(made, WHERE, code_digest(given))


def _options(factory: Callable[..., Any]) -> type:
    """The dataclass that annotates the first parameter of a factory; none has no options."""
    try:
        first, *_ = inspect.signature(factory).parameters
        of = factory.__init__ if isinstance(factory, type) else factory  # type: ignore[misc] # whose annotations alone are read
        hint = get_type_hints(of).get(first)
    except (TypeError, ValueError, NameError):
        return NoOptions
    return hint if isinstance(hint, type) and is_dataclass(hint) else NoOptions


def code_digest(made: Any) -> str:
    """Hex digits that change with the code of a class, a function or what a spec names.

    Looked at are its functions, its bases, and the functions, classes and plain values that these
    read of their modules; of a module that they read, the whole source, and that of those it
    imports; of libraries, the names alone. Where it reads another object, such as a network that
    was loaded before, nothing says whether that is the same: the digits are random.
    """
    return lasting_digest(made) or secrets.token_hex(HEX // 2)


def lasting_digest(made: Any) -> str:
    """The same, for what is kept: where nothing says whether it is the same, no digits at all."""
    digest = hashlib.sha256()
    try:
        for part in _parts(made, {}):
            digest.update(part)
    except TypeError:
        return ""
    return digest.hexdigest()[:HEX]


def _parts(made: Any, seen: dict[int, Any]) -> Iterator[bytes]:
    if isinstance(made, PLAIN):
        yield repr(made).encode()
    elif id(made) not in seen:
        seen[id(made)] = made  # kept, or the next object might have its id
        for kind, inside in INSIDE.items():
            if isinstance(made, kind):
                for one in inside(made):
                    yield from _parts(one, seen)
                return
        if not is_dataclass(made):
            raise TypeError(f"no code: {made!r}")
        yield from _parts([type(made), vars(made)], seen)


def _of_class(made: type) -> Iterable[Any]:
    yield from _name(made)
    if not _is_of_library(made):
        yield made.__bases__
        for name, value in sorted(vars(made).items()):
            if isinstance(value, FunctionType) or not name.startswith(("__", "_abc_")):
                yield from (name, value)


def _of_function(made: FunctionType) -> Iterable[Any]:
    yield from _name(made)
    if not _is_of_library(made):
        yield from (made.__code__, made.__defaults__, made.__kwdefaults__)
        yield [cell.cell_contents for cell in made.__closure__ or ()]
        yield [made.__globals__[name] for name in _names(made.__code__) if name in made.__globals__]


def _of_code(made: CodeType) -> Iterable[Any]:
    return made.co_code, made.co_names, made.co_varnames, made.co_consts


def _of_module(made: ModuleType) -> Iterable[Any]:
    """The sources of a module and of all that it imports; of libraries the name."""
    found: dict[str, ModuleType] = {}
    waiting = [made]
    while waiting:
        one = waiting.pop()
        if one.__name__ not in found and not _is_library(one.__name__, _file(one)):
            found[one.__name__] = one
            waiting += _imported(one)
    yield made.__name__
    for name, one in sorted(found.items()):
        if file := _file(one):
            try:
                yield from (name, Path(file).read_bytes())
            except OSError:
                raise TypeError(f"no source: {one!r}") from None


def _imported(module: ModuleType) -> Iterator[ModuleType]:
    """The modules that it names, and those of the functions and classes that it names."""
    for one in vars(module).values():
        if isinstance(one, ModuleType):
            yield one
        elif isinstance(one, (FunctionType, type)) and one.__module__ in sys.modules:
            yield sys.modules[one.__module__]


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for one in code.co_consts:
        if isinstance(one, CodeType):
            yield from _names(one)


def _name(made: Any) -> tuple[str, str]:
    return str(made.__module__), made.__qualname__


def _is_of_library(made: Any) -> bool:
    """Whether a class or function is of latentbench, of Python or of an installed distribution."""
    return _is_library(made.__module__, _file(sys.modules.get(made.__module__)))


def _is_library(module: str, file: str) -> bool:
    if module in sys.builtin_module_names or file.startswith(STDLIB):
        return True
    return module.partition(".")[0] == "latentbench" or bool(SITES & set(Path(file).parts))


def _file(module: ModuleType | None) -> str:
    return getattr(module, "__file__", None) or ""


# Kind of object -> what is inside, in an order that does not depend on chance.
INSIDE: dict[Any, Callable[[Any], Iterable[Any]]] = {
    (list, tuple): iter,
    (set, frozenset): lambda made: sorted(made, key=repr),
    dict: lambda made: sorted(made.items(), key=repr),
    ModuleType: _of_module,
    ComponentSpec: lambda made: [made.kind, made.name, made.factory, made.options],
    (staticmethod, classmethod): lambda made: [made.__func__],
    property: lambda made: [made.fget, made.fset],
    partial: lambda made: [made.func, made.args, made.keywords],
    BuiltinFunctionType: lambda made: [made.__name__],
    CodeType: _of_code,
    FunctionType: _of_function,
    type: _of_class,
}
