"""The method in a training loop of your own, without DVC, Label Studio or MLflow: `python examples/own_loop.py`.

A small network learns digits. A grey square in the corner of each training image gives the class away. A simulated
expert says that the corner must not matter. In the test images, the square has a random grey. It takes ten seconds.
"""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, cross_entropy, gelu

from labelstudio.exchange.geometry import pixels
from labelstudio.exchange.records import Proposal
from pipeline.feedback.check import check
from pipeline.feedback.penalty import penalty
from pipeline.query.attribution import attribute
from pipeline.query.proposals import propose
from pipeline.query.references import blurred
from pipeline.query.sampling import scores, top

SIDE, CELL = 16, 4  # pixels
QUERIES = 40


class Network(nn.Module):
    """Your network: any module from images (B, C, S, S) to logits (B, classes)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.body = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 16, 3, padding=1)
        self.gate, self.head = nn.Linear(16, 16), nn.Linear(16 * 16, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, 10) of images (B, 3, S, S)."""
        x = gelu(self.stem(x))
        x = x + torch.relu(self.body(x))
        x = x * torch.sigmoid(self.gate(x.mean((2, 3))))[:, :, None, None]
        return self.head(adaptive_avg_pool2d(x, 4).flatten(1))


def digits(count: int, *, shortcut: bool, seed: int) -> tuple[NDArray[np.uint8], Tensor]:
    """Return your pictures (N, S, S, 3) and labels (N,): here digits with a grey square in the corner."""
    rng = np.random.default_rng(seed)
    data = load_digits()
    chosen = rng.permutation(len(data.target))[:count]
    labels = data.target[chosen]
    small = (data.images[chosen] * 15).astype(np.uint8)
    pictures = np.kron(small, np.ones((SIDE // 8, SIDE // 8), np.uint8))
    greys = 25 * (labels if shortcut else rng.integers(0, 10, count))
    pictures[:, -CELL:, -CELL:] = greys[:, None, None]
    return np.stack([pictures] * 3, axis=-1), torch.from_numpy(labels)


def expert(picture: NDArray[np.uint8], proposals: tuple[Proposal, ...]) -> Tensor:
    """Return your expert's mask (S, S), 1 where the network must not look: here the proposals in the corner."""
    w = torch.zeros(SIDE, SIDE)
    for proposal in proposals:
        if proposal.x >= SIDE - CELL and proposal.y >= SIDE - CELL:
            w[torch.from_numpy(pixels(proposal, SIDE, SIDE))] = 1
    return w


def as_input(pictures: NDArray[np.uint8]) -> Tensor:
    """Return the normalised input (N, 3, S, S) of pictures."""
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 128 - 1


# --8<-- [start:method]
def ask(model: nn.Module, pictures: NDArray[np.uint8], labels: Tensor, *, count: int) -> tuple[Tensor, Tensor]:
    """Query the expert: return the images (n, 3, S, S) with a mark, and their masks W (n, S, S)."""
    x = as_input(pictures)
    with torch.no_grad():
        uncertainty = scores(model(x), labels, strategy="entropy")
    asked = top(uncertainty, count)
    saliency = attribute(model, x[asked], blurred(x[asked])).numpy()  # DeepLIFT
    masks = []
    for position, heat in zip(asked, saliency, strict=True):
        proposals = propose(heat, pictures[position], kind="grid", rank="absolute", cell=CELL, count=5)
        masks.append(expert(pictures[position], proposals))
    w = torch.stack(masks)
    marked = w.flatten(1).any(dim=1)
    return x[asked][marked], w[marked]


def train(
    model: nn.Module,
    x: Tensor,
    labels: Tensor,
    *,
    epochs: int,
    feedback: tuple[Tensor, Tensor] | None = None,
    weight: float = 10.0,
) -> None:
    """Train with cross-entropy, and with the penalty (Eq. 2) on the images that the expert marked."""
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    if feedback:
        masked, w = feedback
        # Raises an error if the penalty reaches no weight; chooses the fast route if it is right for this network.
        route = check(model, masked, w, form="share", output="log-probs")
    for _ in range(epochs):
        for batch in torch.randperm(len(x)).split(40):
            loss = cross_entropy(model(x[batch]), labels[batch])
            if feedback:
                penalties = penalty(model, masked, w, form="share", output="log-probs", fast=route.fast)
                loss = loss + weight * penalties.mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


# --8<-- [end:method]


def accuracy(model: nn.Module, pictures: NDArray[np.uint8], labels: Tensor) -> float:
    """Return the share of pictures with the right prediction."""
    with torch.no_grad():
        return float((model(as_input(pictures)).argmax(dim=1) == labels).float().mean())


def main() -> None:
    """Train, ask the expert, and train on with and without the expert's masks."""
    torch.manual_seed(0)
    pictures, labels = digits(500, shortcut=True, seed=0)
    test = digits(500, shortcut=False, seed=1)
    model = Network()
    train(model, as_input(pictures), labels, epochs=10)
    feedback = ask(model, pictures, labels, count=QUERIES)
    print(f"the expert marked regions on {len(feedback[0])} of {QUERIES} images")
    unguided = deepcopy(model)
    train(unguided, as_input(pictures), labels, epochs=10)
    train(model, as_input(pictures), labels, epochs=10, feedback=feedback)
    print(f"accuracy with random squares: {accuracy(unguided, *test):.2f} without feedback, ", end="")
    print(f"{accuracy(model, *test):.2f} with feedback")


if __name__ == "__main__":
    main()
