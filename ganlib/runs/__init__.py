"""The folder of a run: what a training writes there, goes on from, and leaves."""
