"""Mapped pages that cannot be read any more become zeros and are counted, instead of ending the process.

If a mapped file is cut, if its disk fails, or if its server drops it, reading its pages raises SIGBUS in the thread
that reads, in the middle of compiled code. By default that ends the process without a word. Python's own handlers run
between two instructions of Python, which are never reached. So the handler here is machine code. If the address lies
in a mapping of ``prep.base.mapping``, it maps a page of zeros there, counts it, and the thread goes on. A loader looks
at the count after each chunk of samples. If it changed, the loader decodes the chunk again from what ``read`` returns,
and from then on reads its shards without mapping them. Bus errors at other addresses go to the handler before this one.

Other libraries install handlers of the signal too: Ray does in ``ray.init``, and its handler ends the process. So
``catch`` is called before each batch or image, and installs this handler again if another one has taken its place. To
ask takes 0.6 us.

The alternatives cost time for every image, or leave a gap. CPU time of one thread with a warm page cache, the least of
interleaved runs over a window of 256 images of 113 kB from 16 shards, on a busy machine with 2 CPUs, where decoding a
mapped image takes 524 us:

- reading each image into a buffer with ``preadv``: 18 to 25 us an image more, 3.5 to 4.7 %
- comparing the size of each shard before a chunk of 32 images: 1.0 us, or 0.5 us with files that stay open; a share may
  need a round trip for each, and a cut between the comparison and the last access still ends the process
- comparing it before each window of 256 images: 0.2 us, with a gap of all images of the window
- looking at the count, as is done here: 0.01 us, without a gap
"""

import ctypes
import mmap
import signal
import sys
import threading
from typing import Any

import numpy as np
import numpy.typing as npt

from ...prep.base.mapping import RANGES, USED

I64 = npt.NDArray[np.int64]

# As in <signal.h> and <sys/mman.h> of Linux on x86-64 and 64-bit ARM, with glibc and with musl.
SA_SIGINFO, SA_ONSTACK = 4, 0x08000000
PROT_READ, PRIVATE_FIXED_ANONYMOUS, FAILED = 1, 0x2 | 0x10 | 0x20, -1
ADDRESS = 16
"""Where a siginfo_t has the address, in bytes."""

_count: I64 = np.zeros(1, np.int64)
_STACKED, _SIZE = 32, 256
_before = (ctypes.c_char * (_STACKED * _SIZE))()
"""The handlers before this one, each a struct sigaction, the oldest first.

A bus error that is not ours goes to the newest of them, which is then no longer among them: it may call this one again.
"""
_depth: I64 = np.zeros(1, np.int64)
"""(1,): how many handlers ``_before`` has."""
_lock = threading.Lock()
_engine: Any = None
"""What holds the machine code in memory."""
_ours = 0
"""The address of the handler, 0 before it is compiled."""


class _Action(ctypes.Structure):
    """A struct sigaction."""

    _fields_ = (
        ("handler", ctypes.c_void_p),
        ("mask", ctypes.c_char * 128),
        ("flags", ctypes.c_int),
        ("restorer", ctypes.c_void_p),
    )


CAUGHT = sys.platform == "linux" and ctypes.sizeof(ctypes.c_void_p) == 8
_now = _Action()
_NOW = ctypes.addressof(_now)
if CAUGHT:
    _sigaction = ctypes.PyDLL(None).sigaction  # keeps the GIL, so that asking takes half the time
    _sigaction.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]


def count() -> int:
    """Return how many pages were replaced in this process."""
    return _count.item(0)


def catch() -> bool:
    """Catch the bus errors of mapped files in this process; return False on a system where they are not caught."""
    global _engine, _ours
    if not CAUGHT:
        return False
    if _ours and _installed() == _ours:
        return True
    with _lock:
        if not _ours:
            _engine = _compile()
            _ours = _engine.get_function_address("handle")
        return _installed() == _ours or _install()


def _installed() -> int | None:
    """Return the address of the handler that this process has now."""
    _sigaction(signal.SIGBUS, None, _NOW)
    return _now.handler


def _install() -> bool:
    depth = min(_depth.item(0), _STACKED - 1)
    ctypes.memmove(ctypes.addressof(_before) + depth * _SIZE, _NOW, ctypes.sizeof(_now))
    _depth[0] = depth + 1
    action = _Action(handler=_ours, flags=SA_SIGINFO | SA_ONSTACK)
    return _sigaction(signal.SIGBUS, ctypes.addressof(action), None) == 0


def _compile() -> Any:
    """Return an engine with the handler, which takes 10 ms."""
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    module = llvm.parse_assembly(_program())
    module.verify()
    machine = llvm.Target.from_default_triple().create_target_machine()
    engine: Any = llvm.create_mcjit_compiler(module, machine)
    engine.finalize_object()
    return engine


def _program() -> str:
    """Return the handler in LLVM's language, in which it may call what a signal handler may.

    void handle(int number, siginfo_t *info, void *context) {
        for (long i = 0; i < USED[0]; i++)
            if (RANGES[i][0] <= info->si_addr && info->si_addr < RANGES[i][1]) {
                count++;
                if (mmap(page of info->si_addr, a page, PROT_READ, ..., -1, 0) != FAILED) return;
                break;
            }
        if (depth > 0) depth--;
        sigaction(number, &before[depth], NULL);   // the instruction runs again, and that handler gets the error
    }
    """
    from llvmlite import ir

    word, short = ir.IntType(64), ir.IntType(32)
    module = ir.Module("bus_errors")
    map_page = ir.Function(module, ir.FunctionType(word, [word, word, short, short, short, word]), "mmap")
    set_action = ir.Function(module, ir.FunctionType(short, [short, word, word]), "sigaction")
    handle = ir.Function(module, ir.FunctionType(ir.VoidType(), [short, word, word]), "handle")
    begin, each, compare, following, ours, foreign, end = map(
        handle.append_basic_block, ("begin", "each", "compare", "following", "ours", "foreign", "end")
    )
    code = ir.IRBuilder(begin)
    number, info, _ = handle.args

    def at(place: Any) -> Any:
        return code.inttoptr(place, word.as_pointer())

    address, used = code.load(at(code.add(info, word(ADDRESS)))), code.load(at(word(USED.ctypes.data)))
    code.branch(each)
    code.position_at_end(each)
    i = code.phi(word)
    i.add_incoming(word(0), begin)
    code.cbranch(code.icmp_signed("<", i, used), compare, foreign)
    code.position_at_end(compare)
    row = code.add(word(RANGES.ctypes.data), code.mul(i, word(RANGES.strides[0])))
    after_start = code.icmp_unsigned("<=", code.load(at(row)), address)
    before_end = code.icmp_unsigned("<", address, code.load(at(code.add(row, word(RANGES.strides[1])))))
    code.cbranch(code.and_(after_start, before_end), ours, following)
    code.position_at_end(following)
    i.add_incoming(code.add(i, word(1)), following)
    code.branch(each)
    code.position_at_end(ours)
    counted = at(word(_count.ctypes.data))
    code.store(code.add(code.load(counted), word(1)), counted)
    page = code.and_(address, word(-mmap.PAGESIZE))
    how = short(PROT_READ), short(PRIVATE_FIXED_ANONYMOUS), short(-1), word(0)
    mapped = code.call(map_page, [page, word(mmap.PAGESIZE), *how])
    code.cbranch(code.icmp_signed("!=", mapped, word(FAILED)), end, foreign)
    code.position_at_end(foreign)
    depth = code.load(at(word(_depth.ctypes.data)))
    depth = code.select(code.icmp_signed(">", depth, word(0)), code.sub(depth, word(1)), depth)
    code.store(depth, at(word(_depth.ctypes.data)))
    before = code.add(word(ctypes.addressof(_before)), code.mul(depth, word(_SIZE)))
    code.call(set_action, [number, before, word(0)])
    code.branch(end)
    code.position_at_end(end)
    code.ret_void()
    return str(module)
