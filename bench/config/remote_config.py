"""Configs by URL: fetched in safe mode alone, over https, within limits of size and time, and kept in the user's cache.

Plain http is taken from this machine alone. A redirect leads to another https URL, or the fetch ends.
"""

from __future__ import annotations

import hashlib
import threading
import urllib.error
import urllib.request
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from platformdirs import user_cache_path

from bench.config.plain_files import SUFFIXES
from bench.config.plain_limits import MOST_BYTES
from bench.errors import BadInput, one_line, writing_to
from bench.files import write_text
from bench.safe_mode import NotSafe, is_safe, may_fetch

SECONDS = 30.0  # for all of a fetch, redirects included
MOST_REDIRECTS = 3
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_KEPT_URL = ".url"  # after the name of a kept file: where it is from


def is_url(name: str) -> bool:
    """Whether a word on the command line is a URL, of whatever scheme, and no name or path."""
    return "://" in name


def fetched(url: str) -> Path:
    """Return the file in the user's cache that holds the config at a URL, fetched once in this process.

    Raises BadInput outside of safe mode, and for a URL that cannot be fetched within the limits.
    """
    if not is_safe():
        raise BadInput(f"{url} is a config by URL, which is read as plain data alone; add --safe.")
    if not may_fetch():
        raise NotSafe(f"{url} is a config by URL, and what a record names is not fetched; fetch it to a file of yours.")
    return _kept(url)


def url_of(file: Path) -> str | None:
    """Return where a kept config was fetched from; None for any other file."""
    note = file.with_name(file.name + _KEPT_URL)
    if not file.absolute().is_relative_to(_folder().absolute()) or not note.is_file():
        return None
    return note.read_text(encoding="utf-8").strip()


def _folder() -> Path:
    return user_cache_path("bench", ensure_exists=False) / "configs"


@cache
def _kept(url: str) -> Path:
    _check_scheme(url)
    name = PurePosixPath(urlsplit(url).path).name
    if not name.endswith(SUFFIXES) or not name.isascii() or "%" in name:
        raise BadInput(f"{url} is no config, whose name ends in {', '.join(SUFFIXES)}; correct the URL.")
    content = _read(url)
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadInput(f"{url} is not UTF-8, as configs are; correct the URL.") from error
    place = _folder() / hashlib.sha256(url.encode() + b"\n" + content).hexdigest()[:16]
    with writing_to(_folder(), "cache folder by XDG_CACHE_HOME"):
        place.mkdir(parents=True, exist_ok=True)
        write_text(place / f"{name}{_KEPT_URL}", url + "\n")
        write_text(place / name, text)
    return place / name


def _read(url: str) -> bytes:
    """What is at a URL. In a thread, since a server that sends a byte a second outlasts the time-out of a socket."""
    found: list[bytes | Exception] = []

    def read() -> None:
        try:
            with _opener(url).open(url, timeout=SECONDS) as answer:
                found.append(answer.read(MOST_BYTES + 1))
        except Exception as error:  # said where it is waited for
            found.append(error)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    thread.join(SECONDS)
    if not found:
        raise BadInput(f"{url} did not answer within {SECONDS:.0f} s; try again, or give a file.")
    content = found[0]
    if isinstance(content, BadInput):
        raise content
    if isinstance(content, Exception):
        raise BadInput(f"{url} cannot be fetched ({one_line(content)}); correct the URL, or give a file.") from content
    if len(content) > MOST_BYTES:
        raise BadInput(f"{url} has more than {MOST_BYTES // 2**10} KiB, which no config has; correct the URL.")
    return content


def _check_scheme(url: str, asked: str | None = None) -> None:
    """Raise BadInput unless a URL may be fetched; `asked` is the one that redirects to it."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError as error:
        raise BadInput(f"{url} is no URL ({error}); correct it.") from error
    here = host in _LOOPBACK and (asked is None or urlsplit(asked).hostname in _LOOPBACK)
    if host and (parts.scheme == "https" or (parts.scheme == "http" and here)):
        return
    leads = f"{asked} leads to {url}" if asked else url
    raise BadInput(f"{leads}, but configs are fetched over https alone; give an https URL, or a file.")


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows few redirects, and only to what may be fetched."""

    max_redirections = MOST_REDIRECTS

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        """Return the request that a redirect asks for. Raises BadInput where it may not be followed."""
        _check_scheme(newurl, asked=req.full_url)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener(url: str) -> urllib.request.OpenerDirector:
    """What opens http and https, and neither files nor anything else; proxies are for other machines."""
    opener = urllib.request.OpenerDirector()
    handlers: list[urllib.request.BaseHandler] = [
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        _Redirects(),
    ]
    if urlsplit(url).hostname not in _LOOPBACK:
        handlers.append(urllib.request.ProxyHandler())
    for handler in handlers:
        opener.add_handler(handler)
    return opener
