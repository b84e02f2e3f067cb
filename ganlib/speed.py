"""What makes the step fast on a GPU: the whole of it as one CUDA graph. On a CPU the step is called as it is."""

import torch

WARM = 3    # steps before the capture, on a stream of their own, as torch asks for


class CapturedStep:
    """A training step, step(real_a, real_b) -> losses, that a GPU replays as one graph from its fourth call on.

    Each call is one step, the warm-up and the capture too. Batches are of one shape; what else changes between steps (rates,
    draws of the pools) lies in tensors that are written in place. The losses are overwritten by the next call.
    """

    def __init__(self, step, device):
        self.step, self.device, self.calls, self.graph = step, device, 0, None
        self.side = torch.cuda.Stream(device)

    def __call__(self, real_a, real_b):
        with torch.cuda.device(self.device):    # graphs and streams are of the current one
            return self.advance(real_a, real_b)

    def advance(self, real_a, real_b):
        self.calls += 1
        if self.calls <= WARM:
            main = torch.cuda.current_stream()
            self.side.wait_stream(main)
            with torch.cuda.stream(self.side):
                losses = self.step(real_a, real_b)
            main.wait_stream(self.side)
            return losses
        if self.graph is None:
            self.real_a, self.real_b, graph = real_a.clone(), real_b.clone(), torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, stream=self.side):     # computes nothing yet
                self.losses = self.step(self.real_a, self.real_b)
            self.graph = graph
        self.real_a.copy_(real_a)
        self.real_b.copy_(real_b)
        self.graph.replay()
        return self.losses


def lay_out(nets, device):
    """Weights as the device's convolutions like them: channels_last on a GPU. On a CPU NCHW is as fast and its norm is faster."""
    if device.type == "cuda":
        for net in nets:
            net.to(memory_format=torch.channels_last)
    return nets
