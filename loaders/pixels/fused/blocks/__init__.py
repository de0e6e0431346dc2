"""The inverse DCT: from the coefficients of eight blocks to their samples, of all sizes that a block can have.

Here belongs what knows the numbers of a block and nothing of the image around it. Where the samples go is said by the
caller.

    idct       8 x 8 samples
    reduced    4 x 4, 2 x 2 or 1 sample, from the low frequencies
"""
