"""What the notebooks need around them: checked parameters, cells that fail cleanly, JupyterLab."""
