"""The fair order and the honest refusal on a virtual clock: `python -m ops.fairness` prints what they come to.

Nothing is faked but time: the policy, the prediction and the engine's scheduler are those that serve, and the store
is the real one on both databases. A step takes `t(B) = a + b B`.
"""
