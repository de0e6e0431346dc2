"""Many numbers in one instruction: LLVM's vectors, as the bodies of intrinsics for numba.

Here belongs what numba does not offer, for the innermost loops of the room around this one; what they compute belongs
there. numba leaves vectors to LLVM, which chooses their length for the widest registers and for loops of unknown
length. A loop of eight then runs in the remainder, by four; and arithmetic of numba is 64 bits wide, which LLVM does
not always narrow. So the innermost steps are written for vectors of a fixed length. LLVM makes the instructions of any
processor from them, of several registers if one is too short.

How all functions of the decoder are compiled, and where the result is kept, belongs here too: every room uses it.
"""
