"""What continuous batching makes of one GPU, against one picture at a time: `python -m ops.bench.gpu`.

SD 1.5 and three ControlNets at full size with random weights, in bfloat16: their arithmetic does not depend on the
numbers, except that no convolution is left at zero. Less than eight minutes on an H100. It needs torch, numpy,
safetensors, einops and pydantic, and of `controlnet` only what imports no more: text features are random numbers.

    networks   sizes, random networks, the images that are asked for
    lanes      streams, graphs and time; on a CPU they are none, calls and the clock
    naive      the reference: one image at a time, eager
    engine     many images at a time: buckets, graphs, a lane for controls and one for decoding
    checks     the engine's answers are the reference's, and do not depend on neighbours
    goals      G1 to G5
    report     the table, as text, Markdown and JSON

`--device cpu --size small` takes the same path at a small size in seconds. Its figures say nothing of a GPU.
"""
