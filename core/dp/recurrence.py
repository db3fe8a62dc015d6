"""A recurrent layer whose gradients are known row by row."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class Recurrence(nn.Module):
    """A gated recurrent unit over (row, hour, 3 * width) inputs that are projected to its gates already.

    Source: Cho et al. 2014, in the form of cuDNN (the reset gate after the product).
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(3 * width, width))
        self.bias = nn.Parameter(torch.zeros(width))
        for part in self.weight.data.chunk(3):
            nn.init.orthogonal_(part)

    def forward(self, inputs: Tensor) -> Tensor:
        """(row, hour, width) states, from zero."""
        h = torch.zeros(len(inputs), self.weight.shape[1], device=inputs.device)
        states = []
        for x in inputs.unbind(1):
            h = self.step(x, h)
            states.append(h)
        return torch.stack(states, dim=1)

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        """The next state, (row, width)."""
        _, keep, fresh, _ = self._gates(x, h)
        return keep * h + (1 - keep) * fresh

    def _gates(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Reset gate, update gate, new content, and what the state itself gives to the new content."""
        own_reset, own_keep, own_fresh = functional.linear(h, self.weight).float().chunk(3, dim=1)
        x_reset, x_keep, x_fresh = x.float().chunk(3, dim=1)
        reset, keep = torch.sigmoid(x_reset + own_reset), torch.sigmoid(x_keep + own_keep)
        own = own_fresh + self.bias
        return reset, keep, torch.tanh(x_fresh + reset * own), own

    def gate_gradients(self, inputs: Tensor, grad: Tensor) -> tuple[Tensor, Tensor]:
        """(row, hour, 3 * width) gradients of what the weight gives to the gates, and the states it was given.

        Their outer products, summed over hours, are the weight's gradients; the last third's sums are the bias'.
        The states are computed anew, then gone through backwards (Werbos 1990).
        """
        h = torch.zeros(len(inputs), self.weight.shape[1], device=inputs.device)
        before, kept = [], []
        for x in inputs.unbind(1):
            before.append(h)
            reset, keep, fresh, own = self._gates(x, h)
            kept.append((reset, keep, fresh, own))
            h = keep * h + (1 - keep) * fresh
        to_state, found = torch.zeros_like(h), []
        for hour in reversed(range(len(kept))):
            reset, keep, fresh, own = kept[hour]
            to_state = to_state + grad[:, hour].float()
            new = to_state * (1 - keep) * (1 - fresh.square())
            to_keep = to_state * (before[hour] - fresh) * keep * (1 - keep)
            to_gates = torch.cat([new * own * reset * (1 - reset), to_keep, new * reset], dim=1)
            to_state = to_state * keep + to_gates @ self.weight
            found.append(to_gates)
        return torch.stack(found[::-1], dim=1), torch.stack(before, dim=1)
