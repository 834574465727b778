"""Folds on clusters of Ray."""
