"""Metrics: those of pieces become those of the run."""

from __future__ import annotations

from pathlib import Path

from condense.executors.pieces import Piece
from condense.runs.metrics import merge_metrics
from condense.storage.run_folder import RunFolder


def test_metrics_of_pieces_become_those_of_the_run(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "one")
    pieces = [Piece(kind="chunk", index=index) for index in range(3)]
    for piece in pieces:
        folder.metrics_of("chunk", piece.index).parent.mkdir(exist_ok=True)
        folder.metrics_of("chunk", piece.index).write_text(f"chunk {piece.index}\n")
    merge_metrics(folder, [pieces[2]])
    assert folder.metrics.read_text() == "chunk 2\n"
    assert folder.metrics_of("chunk", 0).exists()
    merge_metrics(folder, [])
    assert folder.metrics.read_text() == "chunk 2\nchunk 0\nchunk 1\n"
    assert [file.name for file in folder.path.iterdir()] == ["metrics.jsonl"]
