"""The pixel side: strangers' files to arrays, finished pictures to files.

    decoder   the child process that parses what clients send; knows Pillow and nothing of this platform
    decode    `Decoder`: keeps one such child, and outlives whatever a picture does to it
    png       `encode_png`, `read_parameters`: a PNG that says how it was made

Plain functions of bytes and arrays: no Ray, no torch, no HTTP, no SQL. `serve.deployments.imaging` calls them.
"""
