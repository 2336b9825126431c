"""torch networks by its exporter: attention, LSTM with the batch first, Reshape by Shape, normalization, positions."""

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from tests.corpus.exports.jobs import MakeJob, floats, folder_of_arguments, ids, write_jobs

_VOCABULARY = 300

# Name, network, an example of the input x, its jobs.
Export = tuple[str, nn.Module, Tensor, MakeJob]


class Attention(nn.Module):
    """Two encoder layers over embedded words with positions; the mean over the words is classified."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.positions = nn.Embedding(_VOCABULARY, 16), nn.Parameter(torch.randn(1, 12, 16))
        layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)
        self.encoder, self.head = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        """x: (rows, 12) int64. Returns (rows, 3)."""
        return self.head(self.encoder(self.words(x) + self.positions).mean(dim=1))  # type: ignore[no-any-return]


class Recurrent(nn.Module):
    """An LSTM with the batch first; the last step is classified."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.head = nn.LSTM(5, 12, batch_first=True, bidirectional=True), nn.Linear(24, 2)

    def forward(self, x: Tensor) -> Tensor:
        """x: (rows, 8, 5). Returns (rows, 2)."""
        return self.head(self.lstm(x)[0][:, -1])  # type: ignore[no-any-return]


class Heads(nn.Module):
    """Attention written by hand: heads are made by Reshape with sizes that come from Shape."""

    def __init__(self) -> None:
        super().__init__()
        self.project, self.head = nn.Linear(16, 48), nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        """x: (rows, 10, 16). Returns (rows, 10, 4)."""
        n_rows, n_steps, width = x.shape
        parts = self.project(x).reshape(n_rows, n_steps, 3, 4, width // 4).permute(2, 0, 3, 1, 4)
        weights = torch.softmax(parts[0] @ parts[1].transpose(-1, -2) / 2, dim=-1)
        return self.head((weights @ parts[2]).transpose(1, 2).reshape(n_rows, n_steps, width))  # type: ignore[no-any-return]


def _convolutions() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.SiLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, groups=4), nn.GroupNorm(4, 16), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 5),
    )  # fmt: skip


def _autoencoder() -> nn.Module:
    return nn.Sequential(
        nn.Linear(24, 8), nn.LayerNorm(8), nn.GELU(), nn.Unflatten(1, (2, 4)), nn.ConvTranspose1d(2, 3, 3, stride=2),
        nn.InstanceNorm1d(3), nn.Flatten(), nn.Linear(27, 24),
    )  # fmt: skip


def _gru_over_convolution() -> nn.Module:
    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution, self.gru = nn.Conv1d(4, 6, 3), nn.GRU(6, 7, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            return self.gru(self.convolution(x).transpose(1, 2))[0].max(dim=1).values

    return Mixed()


def exports() -> Iterator[Export]:
    """Yield every export, always with the same weights."""
    torch.manual_seed(0)
    yield "torch_attention", Attention(), torch.zeros(2, 12, dtype=torch.int64), ids("x", _VOCABULARY, 12)
    yield "torch_lstm_batch_first", Recurrent(), torch.zeros(2, 8, 5), floats("x", 8, 5)
    yield "torch_reshape_by_shape", Heads(), torch.zeros(2, 10, 16), floats("x", 10, 16)
    yield "torch_convolutions", _convolutions(), torch.zeros(2, 3, 12, 12), floats("x", 3, 12, 12)
    yield "torch_autoencoder", _autoencoder(), torch.zeros(2, 24), floats("x", 24)
    yield "torch_gru_over_convolution", _gru_over_convolution(), torch.zeros(2, 4, 11), floats("x", 4, 11)


def write(folder: Path, export: Export) -> None:
    """Export a network by both exporters of torch where they can, and write it with its jobs."""
    name, network, example, make = export
    network.eval()
    for suffix, is_dynamo in (("", False), ("_dynamo", True)):
        path = folder / f"{name}{suffix}.onnx"
        shapes = (
            {"dynamic_shapes": ({0: torch.export.Dim("rows")},)}
            if is_dynamo
            else {"dynamic_axes": {"x": {0: "n"}, "y": {0: "n"}}}
        )
        torch.onnx.export(
            network,
            (example,),
            path,
            input_names=["x"],
            output_names=["y"],
            dynamo=is_dynamo,
            external_data=False,
            **shapes,
        )
        write_jobs(path, make)


if __name__ == "__main__":
    _folder = folder_of_arguments()
    for _export in exports():
        write(_folder, _export)
