"""Files: the same bytes in, all of them or nothing out."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from kubectl_egress.errors import ManifestError
from kubectl_egress.files import Manifest, read, write

EMPTY = io.BytesIO()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.yaml", "a.yml", "c.json", "notes.txt", "more/d.yaml"):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(name)
    return tmp_path


def test_a_directory_gives_its_manifests(folder: Path) -> None:
    assert [manifest.text for manifest in read([str(folder)], False, EMPTY)] == ["a.yml", "b.yaml", "c.json"]
    assert [manifest.text for manifest in read([str(folder)], True, EMPTY)] == [
        "a.yml",
        "b.yaml",
        "c.json",
        "more/d.yaml",
    ]


def test_a_named_file_needs_no_extension_and_is_read_once(folder: Path) -> None:
    notes = str(folder / "notes.txt")
    assert read([notes, notes], False, EMPTY) == (Manifest(notes, "notes.txt"),)


def test_standard_input_and_every_byte(tmp_path: Path) -> None:
    content = '\ufeffa: ü\r\nb: "\x85\u2028"\r\rc'.encode()
    (tmp_path / "a.yaml").write_bytes(content)
    for manifest in read([str(tmp_path), "-"], False, io.BytesIO(content)):
        assert manifest.text.encode() == content


@pytest.mark.parametrize(
    ("name", "message"),
    [("missing.yaml", "does not exist"), ("latin1.yaml", "latin1.yaml:2: not UTF-8"), ("empty", "no manifest in")],
)
def test_what_cannot_be_read_has_one_line_and_a_remedy(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "latin1.yaml").write_bytes(b"a: b\nc: \xe4\n")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ManifestError) as caught:
        read([str(tmp_path / name)], True, EMPTY)
    assert message in caught.value.message
    assert caught.value.remedy


def test_write_keeps_bytes_mode_and_links(tmp_path: Path) -> None:
    file, link = tmp_path / "a.yaml", tmp_path / "link.yaml"
    file.write_text("old")
    file.chmod(0o640)
    link.symlink_to(file)
    write(str(link), "\ufeffa\r\nb")
    assert file.read_bytes() == "\ufeffa\r\nb".encode()
    assert file.stat().st_mode & 0o777 == 0o640
    assert link.is_symlink()
    assert sorted(os.listdir(tmp_path)) == ["a.yaml", "link.yaml"]


def test_write_makes_a_file_with_the_usual_mode(tmp_path: Path) -> None:
    (tmp_path / "usual").touch()
    write(str(tmp_path / "new.yaml"), "a")
    assert (tmp_path / "new.yaml").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_a_failed_write_leaves_the_file_and_nothing_beside_it(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").mkdir()
    with pytest.raises(ManifestError) as caught:
        write(str(tmp_path / "a.yaml"), "x")
    assert caught.value.remedy
    assert os.listdir(tmp_path) == ["a.yaml"]
    (tmp_path / "b.yaml").write_text("")
    with pytest.raises(ManifestError):
        write(str(tmp_path / "b.yaml" / "c.yaml"), "x")
