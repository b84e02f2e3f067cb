"""Two image domains: found in a folder, a zip or a hub, decoded, split, and given to a training."""
