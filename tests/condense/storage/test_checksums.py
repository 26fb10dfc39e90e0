"""Checksums: what passes, what is noticed, and what a process leaves that was killed between line and file."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from condense.errors import StorageError
from condense.storage import checksums as module
from condense.storage.checksums import FILE, Checksums, read_sealed, write_sealed


def test_every_flipped_bit_is_noticed(tmp_path: Path) -> None:
    sums, file, notes = Checksums(tmp_path), tmp_path / "below" / "piece", []
    data = b"a piece of work"
    sums.write(file, data)
    assert sums.recorded(file) == hashlib.sha256(data).hexdigest()
    assert sums.usable(file, notes.append) and notes == []
    for bit in range(8 * len(data)):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        file.write_bytes(changed)
        assert not sums.usable(file, notes.append)
    assert len(notes) == 8 * len(data)
    assert notes[0].startswith(f"{file} is damaged")
    sums.write(file, data)
    assert sums.usable(file, notes.append)


def test_a_file_without_a_line_passes_and_a_missing_one_does_not(tmp_path: Path) -> None:
    sums, file = Checksums(tmp_path), tmp_path / "old"
    assert not sums.usable(file, pytest.fail)
    file.write_bytes(b"of an earlier version")
    assert sums.usable(file, pytest.fail)


def test_the_last_line_counts_and_a_broken_one_does_not(tmp_path: Path) -> None:
    sums, file = Checksums(tmp_path), tmp_path / "piece"
    sums.write(file, b"first")
    sums.write(file, b"second")
    with (tmp_path / FILE).open("ab") as lines:
        lines.write(b'{"file":"pie')
    assert sums.usable(file, pytest.fail)
    sums.write(file, b"third")
    assert sums.usable(file, pytest.fail)


def test_a_piece_that_was_not_written_after_its_line_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path, _data: bytes) -> None:
        raise StorageError(f"no space left to write {path}")

    sums, file, notes = Checksums(tmp_path), tmp_path / "piece", []
    sums.write(file, b"before")
    monkeypatch.setattr(module, "write_bytes", fail)
    with pytest.raises(StorageError):
        sums.write(file, b"after")
    assert not sums.usable(file, notes.append) and len(notes) == 1


def test_a_link_has_the_checksum_of_its_source(tmp_path: Path) -> None:
    sums, source, file = Checksums(tmp_path / "run"), tmp_path / "source", tmp_path / "run" / "copy"
    source.write_bytes(b"weights")
    sums.link(source, file)
    assert sums.recorded(file) == hashlib.sha256(b"weights").hexdigest()


def test_a_sealed_file_knows_every_flipped_bit(tmp_path: Path) -> None:
    file, data = tmp_path / "below" / "kept", b"what is kept"
    write_sealed(file, data)
    assert read_sealed(file) == data
    sealed = file.read_bytes()
    assert sealed == hashlib.sha256(data).digest() + data
    for bit in range(8 * len(sealed)):
        changed = bytearray(sealed)
        changed[bit // 8] ^= 1 << bit % 8
        file.write_bytes(changed)
        assert read_sealed(file) is None
    for cut in range(len(sealed)):
        file.write_bytes(sealed[:cut])
        assert read_sealed(file) is None
    write_sealed(file, b"")
    assert read_sealed(file) == b""
