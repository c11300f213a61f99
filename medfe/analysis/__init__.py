"""What the notebooks show, importable and tested."""
