class Samples:
    """Instances in a class of the kit's own."""

    def __init__(self, values):
        self.values = values

    def __len__(self):
        return len(self.values)

    def __getitem__(self, indices):
        return Samples(self.values[indices])
