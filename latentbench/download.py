"""Downloads that resume by HTTP Range, are checked by checksum and put in place whole.

While a file is under way it lies beside its destination as `NAME.part`, with the server's
validator in `NAME.part.validator`; the next call goes on from there if the server still has the
same file. `NAME.lock` keeps a second process from writing the same file.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import socket
import threading
import urllib.request
from typing import TYPE_CHECKING

import httpx

from latentbench.digest import file_digest
from latentbench.errors import LatentbenchError, UsageError
from latentbench.files import write_text
from latentbench.locks import locked

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from latentbench.progress import Progress

__all__ = ["fetch", "only_writer", "recorded_sha256", "require_lookup"]

LOOKUP_SECONDS = 5.0
TIMEOUT = httpx.Timeout(30.0, connect=3.0)
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


def fetch(
    url: str,
    destination: Path,
    *,
    checksum: str,
    progress: Progress,
    title: str,
    hint: str = "",
) -> Path:
    """Download `url` to `destination` unless it is there, and return `destination`.

    What is there was checked when it was put there, and is not checked again.

    Args:
        url: http or https; redirects are followed, proxies are taken from the environment.
        destination: a file; its folder is made.
        checksum: `sha256:` or `md5:` and hex, of a sha256 maybe only the first digits; empty
            where the publisher gives none: the user is told so, and what came.
        progress: told of the bytes as they come.
        title: what the user sees being downloaded.
        hint: how to go on without this download; shown with every error of the network.

    Raises:
        UsageError: the server cannot be reached or does not have the file, or the checksum is
            wrong (what came is then removed).
        LatentbenchError: the file cannot be written, e.g. the disk is full; what came is kept.
    """
    if destination.is_file():
        return destination
    with _reporting_disk(destination):
        destination.parent.mkdir(parents=True, exist_ok=True)
        with only_writer(destination, progress, title):
            if not destination.is_file():
                part = _Part(destination)
                _complete(url, part, progress, title, hint)
                _check(url, part, checksum)
                if not checksum:
                    found = file_digest(part.path)
                    progress.say(f"{url} has no published checksum; what came has sha256 {found}.")
                    write_text(_sum_file(destination), f"{found}  {destination.name}\n")
                part.path.replace(destination)
                part.forget()
    return destination


def recorded_sha256(destination: Path) -> str:
    """What a file without a published checksum had when it came; empty where nobody knows."""
    file = _sum_file(destination)
    found = (
        re.match(r"[0-9a-f]{64}\b", file.read_text("utf-8", "replace")) if file.exists() else None
    )
    return found[0] if found else ""


def _sum_file(destination: Path) -> Path:
    return destination.with_name(f"{destination.name}.sha256")


class _Part:
    """The bytes that came so far, and what tells whether the server still has the same file."""

    def __init__(self, destination: Path) -> None:
        self.path = destination.with_name(destination.name + ".part")
        self.validator_path = destination.with_name(destination.name + ".part.validator")

    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def validator(self) -> str:
        return self.validator_path.read_text("utf-8") if self.validator_path.exists() else ""

    def begin(self, validator: str) -> None:
        """Start from nothing."""
        self.path.write_bytes(b"")
        self.validator_path.write_text(validator, "utf-8")

    def forget(self) -> None:
        self.path.unlink(missing_ok=True)
        self.validator_path.unlink(missing_ok=True)


def _complete(url: str, part: _Part, progress: Progress, title: str, hint: str) -> None:
    """Transfer until the part is whole; a broken connection is taken up again if bytes came."""
    while True:
        before = part.size()
        try:
            require_lookup(url)
            with httpx.Client(timeout=TIMEOUT, follow_redirects=True) as client:
                _transfer(client, url, part, progress, title)
        except httpx.HTTPStatusError as error:
            answer = error.response
            raise UsageError(
                f"{url} cannot be downloaded: the server answers "
                f"{answer.status_code} {answer.reason_phrase}.",
                hint,
            ) from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            if part.size() > before:
                continue
            kept = f" {part.size():,} bytes are kept for the next try." if part.size() else ""
            raise UsageError(f"{url} cannot be downloaded: {error}.{kept}", hint) from None
        else:
            return


def _transfer(client: httpx.Client, url: str, part: _Part, progress: Progress, title: str) -> None:
    """Ask for what is missing; ask for everything where the answer does not go on from there."""
    start = part.size()
    headers = {"Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
        if validator := part.validator():
            headers["If-Range"] = validator
    with client.stream("GET", url, headers=headers) as response:
        begins, total = _content_range(response)
        is_rest = response.status_code == httpx.codes.PARTIAL_CONTENT
        is_behind = response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE
        if not start or not (is_behind or (is_rest and begins != start)):
            _receive(response, part, progress, title)
            return
        if total == start:
            return  # asked for what comes after the end: everything is here
    part.forget()
    _transfer(client, url, part, progress, title)


def _receive(response: httpx.Response, part: _Part, progress: Progress, title: str) -> None:
    """Append the body to the part, or begin anew where the body is the whole file."""
    response.raise_for_status()
    start = part.size()
    if response.status_code != httpx.codes.PARTIAL_CONTENT:
        start = 0
        part.begin(_validator(response))
    length = response.headers.get("Content-Length", "")
    total = start + int(length) if length.isdecimal() else None
    with (
        part.path.open("ab", buffering=0) as file,
        progress.task(title, total, "bytes", start) as meter,
    ):
        for chunk in response.iter_raw():
            _write(file.fileno(), chunk)
            meter.advance(len(chunk))
        os.fsync(file.fileno())


def _write(descriptor: int, chunk: bytes) -> None:
    view = memoryview(chunk)
    while view:
        view = view[os.write(descriptor, view) :]


def _content_range(response: httpx.Response) -> tuple[int | None, int | None]:
    """Start and total of `bytes 5-9/10` or `bytes */10` (RFC 9110, section 14.4)."""
    given = response.headers.get("Content-Range", "")
    found = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(?:(\d+)|\*)", given)
    start, total = found.groups() if found else (None, None)
    return int(start) if start else None, int(total) if total else None


def _validator(response: httpx.Response) -> str:
    """What `If-Range` may carry: a strong ETag, else the date (RFC 9110, section 13.1.5)."""
    etag: str = response.headers.get("ETag", "")
    if etag and not etag.startswith("W/"):
        return etag
    date: str = response.headers.get("Last-Modified", "")
    return date


def _check(url: str, part: _Part, checksum: str) -> None:
    algorithm, _, expected = checksum.partition(":")
    if checksum and not (found := file_digest(part.path, algorithm)).startswith(expected.lower()):
        part.forget()
        raise UsageError(
            f"What {url} sent has the {algorithm} checksum {found}, expected {expected}; "
            "it was removed.",
            "Try again; if it stays so, the file on the server is not the one this version of "
            "latentbench knows.",
        )


def require_lookup(url: str) -> None:
    """Look the host up with a time limit, since a resolver without network may take minutes.

    Raises:
        httpx.ConnectTimeout: there was no answer in time.
    """
    host = httpx.URL(url).host
    if urllib.request.getproxies() and not urllib.request.proxy_bypass(host):
        return  # the proxy looks the host up

    def look_up() -> None:
        with contextlib.suppress(OSError):  # connecting says why
            socket.getaddrinfo(host, None)

    thread = threading.Thread(target=look_up, daemon=True)
    thread.start()
    thread.join(LOOKUP_SECONDS)
    if thread.is_alive():
        raise httpx.ConnectTimeout(f"no name server answered within {LOOKUP_SECONDS:g} s")


@contextlib.contextmanager
def only_writer(destination: Path, progress: Progress, title: str) -> Iterator[None]:
    """Hold `NAME.lock` beside the destination; says so where another process holds it."""
    waiting = f"Another process has begun: {title}. Waiting for it."
    with locked(destination.with_name(destination.name + ".lock"), progress, waiting):
        yield


@contextlib.contextmanager
def _reporting_disk(destination: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in DISK_FULL:
            raise LatentbenchError(
                f"The disk is full: '{destination}' cannot be downloaded completely.",
                "Make room and run the same command again: it goes on where it stopped. "
                "Or choose another place with --cache.",
            ) from None
        raise LatentbenchError(
            f"'{destination}' cannot be written: {error.strerror or error}.",
            "Choose another place with --cache.",
        ) from None
