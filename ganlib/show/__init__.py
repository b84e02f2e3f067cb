"""What is shown while and after a training: pictures, curves, progress."""
