"""Whether a fingerprint tells apart what gives other latents, and nothing else.

The fingerprint is part of the key of the latent store: one that leaves out an option makes a
run read the latents of another.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

from latentbench.conformance.check import require
from latentbench.conformance.closeness import SAME, change
from latentbench.errors import LatentbenchError

if TYPE_CHECKING:
    from latentbench.conformance.audio import EncoderSubject
    from latentbench.encoders import Encoder

__all__ = ["fingerprint", "fingerprint_of_options", "other_values"]

ADDRESS = re.compile(r"\bat 0x[0-9a-fA-F]+")


def fingerprint(subject: EncoderSubject) -> str:
    """The fingerprint is text to text, and the same again and from another instance.

    A value that holds a memory address would differ in every process.
    """
    found = _of(subject.encoder)
    for key, value in found.items():
        texts = isinstance(key, str) and isinstance(value, str)
        require(texts, "a fingerprint of text to text", f"{key!r}: {value!r}")
        came = f"{value!r}, which holds a memory address"
        require(not ADDRESS.search(value), f"'{key}' the same in every process", came)
    subject.encode([subject.speech])
    for which, encoder in (
        ("after encoding", subject.encoder),
        ("from another instance", subject.loaded()),
    ):
        other = _of(encoder)
        differing = sorted(key for key in {*found, *other} if found.get(key) != other.get(key))
        require(not differing, f"the same fingerprint {which}", f"other values of {differing}")
    return ", ".join(sorted(found))


def fingerprint_of_options(subject: EncoderSubject) -> str:
    """Options that change the latents change the fingerprint."""
    found: dict[str, list[str]] = {}
    for name, options, encoder in _alternatives(subject):
        if _geometry(encoder) != _geometry(subject.encoder):
            kind = "another geometry"
        elif not _differs(subject, encoder):
            kind = "same latents"
        else:
            kind = "told apart"
            values = [f"{name}={getattr(one, name)!r}" for one in (options, subject.options)]
            require(
                _of(subject.encoder) != _of(encoder),
                f"another fingerprint with {values[0]} than with {values[1]}, "
                "for the latents differ",
                "the same fingerprint: a run would read the other's latents from the store",
            )
        found.setdefault(kind, []).append(name)
    told = [f"{kind}: {', '.join(names)}" for kind, names in found.items()]
    return "; ".join(told) or "no option has another value that could be tried"


def _of(encoder: Encoder) -> dict[str, str]:
    found = encoder.fingerprint()
    given = isinstance(found, Mapping) and found
    require(given, "fingerprint() to give a mapping that is not empty", repr(found))
    return dict(found)


def _alternatives(subject: EncoderSubject) -> Iterator[tuple[str, Any, Encoder]]:
    """For each option that has one: its name, options with another value, such an encoder."""
    hints = get_type_hints(type(subject.options))
    for field in fields(subject.options):
        for value in other_values(hints[field.name], getattr(subject.options, field.name)):
            options = replace(subject.options, **{field.name: value})
            try:
                encoder = subject.loaded(options)
            except (LatentbenchError, ValueError):  # a value that is refused
                continue
            yield field.name, options, encoder
            break


def other_values(hint: Any, value: Any) -> list[Any]:
    """Other values of an option that are worth a try; texts that are free have none."""
    if get_origin(hint) is Literal:
        return [choice for choice in get_args(hint) if choice != value]
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value + 1, value * 2, value // 2]
    if isinstance(value, float):
        return [value * 2, value / 2]
    return []


def _geometry(encoder: Encoder) -> tuple[float, ...]:
    """What the store's key holds beside the fingerprint."""
    return encoder.sample_rate, encoder.hop, encoder.dim, encoder.channels


def _differs(subject: EncoderSubject, encoder: Encoder) -> bool:
    (other,) = subject.encode([subject.speech], encoder=encoder)
    if other.shape != subject.latents.shape:
        return True
    return bool((change(subject.latents, other) > SAME).any())
