"""Manifests on disk and on standard input: read with every byte kept, written beside and then renamed."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from kubectl_egress.errors import ManifestError

# kubectl's, for what it takes from a directory (cli-runtime pkg/resource/builder.go, FileExtensions).
EXTENSIONS = frozenset({".json", ".yaml", ".yml"})


@dataclass(frozen=True, slots=True)
class Manifest:
    """A file as it was read; `text` encodes to its very bytes, line ends and byte order mark included."""

    file: str
    """The path as it was given or found; `-` is standard input."""
    text: str


def read(paths: Sequence[str], recursive: bool, stdin: BinaryIO) -> tuple[Manifest, ...]:
    """What `-f FILE|DIR|-` and `-R` mean to kubectl: files as named, of directories the manifests, in order of name.

    A file that is named twice is read once. ManifestError for what is missing, unreadable or not UTF-8.
    """
    manifests: dict[str, Manifest] = {}
    for path in paths:
        for file in ("-",) if path == "-" else _files(Path(path), recursive):
            key = file if file == "-" else os.path.realpath(file)
            if key not in manifests:
                manifests[key] = Manifest(file, _text(file, stdin))
    return tuple(manifests.values())


def _files(path: Path, recursive: bool) -> Iterator[str]:
    if not path.exists():
        raise ManifestError(f'the path "{path}" does not exist', "Give a file, a directory, or - for standard input.")
    if not path.is_dir():
        yield str(path)
        return
    found = sorted(_listed(path, recursive))
    if not found:
        more = "" if recursive else ", or -R to look into its directories"
        extensions = " ".join(sorted(EXTENSIONS))
        raise ManifestError(f'no manifest in "{path}"', f"Only {extensions} count in a directory: name the file{more}.")
    yield from found


def _listed(directory: Path, recursive: bool) -> Iterator[str]:
    def refuse(error: OSError) -> None:
        raise ManifestError(f'cannot read "{error.filename}": {error.strerror}', "Check its permissions.") from error

    for root, _, names in os.walk(directory, onerror=refuse):
        yield from (str(Path(root, name)) for name in names if Path(name).suffix in EXTENSIONS)
        if not recursive:
            return


def _text(file: str, stdin: BinaryIO) -> str:
    try:
        content = stdin.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise ManifestError(f'cannot read "{file}": {error.strerror}', "Check its permissions.") from error
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ManifestError(f"{file}:{line}: not UTF-8", "Kubernetes reads UTF-8 only: convert the file.") from error


def write(path: str, text: str) -> None:
    """Replace a file's content, or make the file and its directories: all of it or nothing. Mode and symbolic links stay.

    ManifestError if the directory or the file cannot be written.
    """
    target = Path(os.path.realpath(path))
    beside = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        mode = stat.S_IMODE(target.stat().st_mode) if target.exists() else 0o666 & ~_umask()
        descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        beside = Path(name)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(text.encode("utf-8"))
            stream.flush()
            os.fchmod(stream.fileno(), mode)
            os.fsync(stream.fileno())
        os.replace(beside, target)
    except OSError as error:
        raise ManifestError(f'cannot write "{path}": {error.strerror}', "Check the directory's permissions.") from error
    finally:  # also when interrupted: nothing stays beside the file
        if beside is not None:
            beside.unlink(missing_ok=True)


def _umask() -> int:
    current = os.umask(0o022)
    os.umask(current)
    return current
