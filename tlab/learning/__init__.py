"""What everything that learns from a model shares: texts, the vectors that they leave at a site, and pushes.

Refuses: learning. That is for `sae`, `probe` and the tuned lens.
"""
