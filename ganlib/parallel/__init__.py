"""Several processes that train one run, and many runs at once."""
