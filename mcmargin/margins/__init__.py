"""From losses to margins: tails, components, the requirement, margin()."""
