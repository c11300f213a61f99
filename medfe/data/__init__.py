"""Photographs and masks: files, value ranges, training and evaluation sets."""
