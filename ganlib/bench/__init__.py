"""What a training step costs: time, memory, floating-point operations."""
