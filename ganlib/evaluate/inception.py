"""Features of the Inception network that published KID and FID are computed with; its weights
are fetched or given by path."""

import hashlib
import os
import socket
from pathlib import Path

import torch
import torch_fidelity
from torch_fidelity.feature_extractor_inceptionv3 import (
    URL_INCEPTION_V3,
    FeatureExtractorInceptionV3,
)

from ganlib.errors import InputError
from ganlib.show.progress import Progress
from ganlib.system.files import expand

HASH = "6726825d"  # sha256 of the weights file begins with this, as its name says


class Inception:
    """2,048 features an image (Szegedy et al. 2015, 1512.00567; TensorFlow's weights of
    2015-12-05), by torch-fidelity, which scales images of any size to 299x299 by TensorFlow's
    filter."""

    name = f"Inception v3 2015-12-05, 2048 features, torch-fidelity {torch_fidelity.__version__}"
    hash = HASH

    def __init__(self, path, device="cpu"):
        self.device = device
        self.net = (
            FeatureExtractorInceptionV3(
                "inception", ["2048"], feature_extractor_weights_path=str(path)
            )
            .to(device)
            .eval()
        )

    @torch.no_grad()
    def look(self, images, batch_size=32):
        """uint8 (N, 3, H, W) -> (N, 2048) on the CPU."""
        found = []
        with Progress("looking at images by Inception", len(images), unit="images") as progress:
            for batch in images.split(batch_size):
                found.append(self.net(batch.to(self.device))[0].float().cpu())
                progress.add(len(batch))
        return torch.cat(found)


def find_inception(where, device="cpu"):
    """Inception from `where`: the path of its weights file, "fetch" (from torch's cache, else 91 MB
    over the network), or None where it is empty. Where nothing can be fetched one printed line says
    how to get them, and None is returned: the rest goes on.

    Raises InputError for a path without a file, or with another file than the one.
    """
    if not where:
        return None
    cache = Path(torch.hub.get_dir()) / "checkpoints" / URL_INCEPTION_V3.rsplit("/", 1)[1]
    path = cache if where == "fetch" else expand(where, "inception")
    advice = (
        f"fetch {URL_INCEPTION_V3} on a machine with a network, and give its path as `inception`"
    )
    if where == "fetch" and not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        limit = socket.getdefaulttimeout()
        socket.setdefaulttimeout(20)
        try:
            with Progress("fetching the weights of Inception, 91 MB", 1, unit="files"):
                torch.hub.download_url_to_file(
                    URL_INCEPTION_V3, str(path), hash_prefix=HASH, progress=False
                )
        except (OSError, RuntimeError) as error:  # RuntimeError: what came is another file
            print(
                f"inception: its weights could not be fetched ({' '.join(str(error).split())}), so "
                f"nothing is scored by it; {advice}"
            )
            return None
        finally:
            socket.setdefaulttimeout(limit)
    if not os.path.isfile(path):
        raise InputError(f"inception {where!r}: no such file; {advice}")
    with open(path, "rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if not found.startswith(HASH):
        raise InputError(
            f"inception {where!r}: its sha256 begins with {found[:8]}, expected {HASH}; {advice}"
        )
    try:
        # torch-fidelity reads it by pickle: only after it is known to hold tensors alone
        torch.load(path, weights_only=True)
    except Exception as error:  # torch raises nearly anything
        raise InputError(
            f"inception {where!r}: not a file of weights ({' '.join(str(error).split())[:100]}); "
            f"{advice}"
        ) from None
    return Inception(path, device)
