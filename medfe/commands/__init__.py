"""Subcommands: each parses its settings, then calls one function of the package.

Nothing heavy is imported before a subcommand runs, so that help and errors come at once.
"""
