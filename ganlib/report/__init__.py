"""The notebooks run with the parameters of a YAML file, and rendered as one page."""
