"""The app: draw a hole in a photograph and see what each arm makes of it (`python -m demo`)."""
