"""What translations are scored by, and what warns of a training that goes wrong."""
