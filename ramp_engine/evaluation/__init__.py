"""What is done with a submission inside the event's environment: prepare, fold, score.

============  =========  =========================================================================
step          side       what it does
============  =========  =========================================================================
``prepare``   trusted    reads kit and data, draws the folds once, writes a bundle
``fold``      untrusted  trains the submission and predicts, one forked child a fold
``score``     trusted    reads predictions as data, holds them against the labels, writes scores
============  =========  =========================================================================

Predictions and scores lie in ``fold_<i>/``, as in the ``training_output/`` of ramp-test. An event
with a ``data_label`` has one label only, so there is no folder for it in between.

The package stands alone: the standard library, and the numpy, pandas and ramp-workflow of the
event's environment, Python 3.9 or later. It imports nothing of the project and is not installed
in that environment; it is run there as a folder::

    PYTHON -I .../ramp_engine/evaluation COMMAND ...
"""
