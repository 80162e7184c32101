"""What the literature claims, as experiments that end in a verdict.

Here belongs: one file a claim ("ReLU reaches 25 % training error six times sooner than tanh"), each with its source,
the experiment that tests it, and the reading of the result in the four words of `hillock.comparison`. Exact claims are
computed, statistical ones are run over paired seeds.

Here never belongs: training loops, statistics or drawing of its own; a claim is a design handed to
`hillock.comparison` or `hillock.diagnosis`, and a sentence about what came back.
"""
