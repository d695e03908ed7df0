"""Measurements of the running product, each side by side with what it is compared to. Not part of CI."""
