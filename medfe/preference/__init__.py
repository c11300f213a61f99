"""Blind human preference: studies, votes, analysis."""
