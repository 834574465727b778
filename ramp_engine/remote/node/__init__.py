"""What runs on a node: an agent per event, which holds bundles and fold servers and runs folds.

The engine's task functions talk to it by `entry`. It begins when it is first needed, outlives the
engine's processes, and ends by itself when it has neither leases nor folds.
"""
