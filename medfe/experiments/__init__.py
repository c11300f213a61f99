"""Registered experiments and their runner."""
