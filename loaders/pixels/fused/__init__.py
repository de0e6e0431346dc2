"""The fused decoder: from the tiles of a crop to its row of the batch, in one compiled call for many images.

Here belong the functions that numba compiles for it, from the header of a JPEG to the resized pixels, and the memory
that they share. The calls from Python, and what decodes with a library, belong in the room around this one.

    header, codes, unstuff, entropy    bytes to coefficients, of tiles
    scans                              the same of whole images, two at a time
    blocks, tiles                      coefficients to planes of luma and chroma
    colour, weights, resize            planes to the sample: exact
    planar                             the same with the resize before the colours
    raw                                pixels as they are to the sample
    plan, scratch, decode              which part of which image, the memory, the loop over images
    vectors                            what the innermost loops are written with, and how all is compiled

Nothing in it checks indexes while it runs. Each module says why its indexes stay within the arrays. The tests run the
same functions with checked indexes, on damaged images, and between guard zones.
"""
