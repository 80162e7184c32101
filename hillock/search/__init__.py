"""The search for activation functions by composing unary and binary pieces.

Here belongs: the space of candidate formulas, their canonical form and de-duplication, and the search strategies that
rank candidates on small networks.

Here never belongs: activations known by name (`hillock.activations`) or the statistics of a comparison
(`hillock.comparison`).
"""
