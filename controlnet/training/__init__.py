"""Train the three stages of a small model, or a control on your own pictures.

`run.train(["stage=control", ...])` composes a configuration of `conf/`, runs one stage and leaves its
weights in a folder; `export` makes a bundle of those folders. The stages are `vae`, `base` (UNet and text
encoder) and `control` (a ControlNet on a locked base).
"""
