"""The line from the perceptron to deep networks, runnable.

Here belongs: the historical learners in their own terms (Rosenblatt's perceptron rule, Widrow and Hoff's ADALINE and
MADALINE, back-propagation as of 1986, stacked restricted Boltzmann machines), each faithful to its source and small
enough to read in one sitting.

Here never belongs: anything a modern training needs; that is `hillock.training`.
"""
