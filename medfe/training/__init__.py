"""The two training loops, checkpoints and logs."""
