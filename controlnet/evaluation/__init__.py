"""How good a model is: `controlnet evaluate`.

One noun, one module: `scenes` says what the model is asked to draw, `sampling` has it drawn under several conditions,
`metrics` (edges), `material` (colour) and `judge` (a small classifier) look at the pictures, `bootstrap` says how sure
a mean is, `evaluate` puts it together, `photographs` asks for what no renderer made. `report` (HTML), `markdown` (the
documentation) and `tracking` (MLflow) tell it.
"""
