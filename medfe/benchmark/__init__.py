"""Speed and memory, each beside its floor: what `medfe benchmark` prints. Timings are measured, never asserted."""
