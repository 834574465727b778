"""Folds on clusters of dask.distributed."""
