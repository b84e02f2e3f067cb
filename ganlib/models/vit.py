"""The pixel-wise vision transformer of UVCGAN (Torbunov et al. 2022, arXiv 2203.02557, section
3.1)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class FourierPositions(nn.Module):
    """sin(W p + b) of pixel positions p = (x, y) in [-1, 1], W learned (CIPS, arXiv 2011.13775,
    section 3.1).

    (height, width) -> (height * width, features), rows first. Weights start `init_gain` times as
    large as others."""

    def __init__(self, features: int, init_gain: float = 1.0):
        super().__init__()
        self.proj = nn.Linear(2, features)
        self.proj.init_gain = init_gain

    def forward(self, height: int, width: int) -> Tensor:
        # differs: positions come from the map at hand, not from a fixed square grid laid out
        # (width, height)
        weight = self.proj.weight
        exact = dict(device=weight.device, dtype=torch.promote_types(weight.dtype, torch.float32))
        y = torch.linspace(-1, 1, height, **exact) if height > 1 else torch.zeros(1, **exact)
        x = torch.linspace(-1, 1, width, **exact) if width > 1 else torch.zeros(1, **exact)
        # (H, W, 2)
        grid = torch.stack([x.expand(height, width), y[:, None].expand(height, width)], dim=-1)
        # (H * W, features)
        return torch.sin(self.proj(grid.flatten(0, 1).to(weight.dtype)))


def attend(attention: nn.MultiheadAttention, x: Tensor) -> Tensor:
    """Self-attention of an nn.MultiheadAttention, (B, L, F) -> the same: attention(x, x, x)[0]
    without a mask or dropout.

    On a CPU in bfloat16 as two plain products, up to 1,024 tokens: the fused kernel takes twice
    as long there, and less memory."""
    q, k, v = [
        part.unflatten(-1, (attention.num_heads, -1)).transpose(1, 2)
        # (B, heads, L, F / heads)
        for part in F.linear(x, attention.in_proj_weight, attention.in_proj_bias).chunk(3, dim=-1)
    ]
    if x.device.type == "cpu" and q.dtype == torch.bfloat16 and x.shape[1] <= 1024:
        out = torch.softmax(q * q.shape[-1] ** -0.5 @ k.transpose(-1, -2), dim=-1) @ v
    else:
        out = F.scaled_dot_product_attention(q, k, v)
    return attention.out_proj(out.transpose(1, 2).flatten(2))


class ViTBlock(nn.Module):
    """z + a MHSA(z), then + a FFN: one scalar a for both, 0 at the start (ReZero, arXiv
    2003.04887). (B, L, F)."""

    def __init__(self, features: int, n_heads: int, ffn_features: int, norm: bool):
        super().__init__()
        self.norm1 = nn.LayerNorm(features) if norm else nn.Identity()
        self.norm2 = nn.LayerNorm(features) if norm else nn.Identity()
        self.attention = nn.MultiheadAttention(features, n_heads, batch_first=True)
        self.ffn = nn.Sequential(
            nn.Linear(features, ffn_features), nn.GELU(), nn.Linear(ffn_features, features)
        )
        self.rezero = nn.Parameter(torch.zeros(()))

    def forward(self, z: Tensor) -> Tensor:
        z = z + self.rezero * attend(self.attention, self.norm1(z))
        return z + self.rezero * self.ffn(self.norm2(z))


class PixelwiseViT(nn.Module):
    """A transformer whose tokens are the pixels of a feature map, any size of map.

    (B, c, H, W) -> (B, c, H, W), unbounded. 3,352,836 parameters at c 256 and the defaults,
    without norm."""

    def __init__(
        self,
        c,
        features=256,
        n_heads=4,
        n_blocks=4,
        ffn_features=1024,
        norm=False,
        pos_init_gain=1.0,
    ):
        super().__init__()
        self.positions = FourierPositions(features, pos_init_gain)
        self.proj_in = nn.Linear(features + c, features)
        self.blocks = nn.Sequential(
            *[ViTBlock(features, n_heads, ffn_features, norm) for _ in range(n_blocks)]
        )
        self.proj_out = nn.Linear(features, c)

    def forward(self, x: Tensor) -> Tensor:
        b, _, h, w = x.shape
        tokens = x.flatten(2).transpose(1, 2)  # (B, H * W, c)
        positions = self.positions(h, w).to(x.dtype).expand(b, -1, -1)  # (B, H * W, features)
        z = self.proj_in(torch.cat([positions, tokens], dim=-1))  # (B, H * W, features)
        z = self.proj_out(self.blocks(z))  # (B, H * W, c)
        # (B, c, H, W), channels_last
        z = z.transpose(1, 2).unflatten(2, (h, w))
        # In the layout that the decoder's convolutions had
        return z.contiguous() if x.is_contiguous() else z
