"""Runs set side by side, and which differences between them are established."""
