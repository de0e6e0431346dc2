"""Checks of the installed software: Python, torch and its GPU, Pillow, the loaders, the console.

Every check is a pure function from facts to a finding. It returns None if its facts are unknown or do not exist on the
system.
"""

from .finding import Finding, Level
from .machine_facts import MachineFacts

# The major version of the oldest driver that runs programs built with a CUDA of this major version (NVIDIA's "CUDA
# Compatibility", minor version compatibility). A newer driver runs programs of all older CUDA versions.
OLDEST_DRIVER = {11: 450, 12: 525, 13: 580}
# GPUs with an engine for baseline JPEG: A100 and A30 of Ampere, and Ada, Hopper and all later generations (nvJPEG's
# documentation, "Hardware Acceleration").
ENGINE_AMPERE, ENGINE_SINCE = (8, 0), (8, 9)
FOREIGN_TORCH = "pip install uv && uv pip install --reinstall torch torchvision --torch-backend="


def python(facts: MachineFacts) -> Finding:
    """Report the version of Python and how it starts processes."""
    environment = facts.environment
    start = f"which starts processes by {environment.start_method}"
    found = f"Python {environment.python} on {environment.platform}, {start}"
    return Finding(subject="python", level="ok", found=found)


def gpu(facts: MachineFacts) -> Finding:
    """Check GPU, driver, torch's CUDA build and GPU generation in this order, and report the first that fails."""
    gpu, driver, built = facts.environment.machine.gpu, facts.environment.driver, facts.torch.cuda
    if gpu is None:
        return _no_gpu(built)
    found = f"{gpu}, driver {driver or 'unknown'}, torch built {f'with CUDA {built}' if built else 'without CUDA'}"
    if built is None:
        return _unused_gpu(found, "torch cannot use the GPU", f"{FOREIGN_TORCH}auto")
    oldest, major = OLDEST_DRIVER.get(int(built.partition(".")[0])), (driver or "").partition(".")[0]
    if oldest and major.isdecimal() and int(major) < oldest:
        consequence = f"CUDA {built} needs driver {oldest} or newer, so torch cannot use the GPU"
        return _unused_gpu(found, consequence, f"{FOREIGN_TORCH}auto  (or install driver {oldest} or newer)")
    if not facts.torch.sees_gpu:
        hidden = facts.visible_devices in ("", "-1", "NoDevFiles")
        consequence = "torch cannot use the GPU" + (", because CUDA_VISIBLE_DEVICES hides it" if hidden else "")
        unhide = "set CUDA_VISIBLE_DEVICES=" if facts.windows else "unset CUDA_VISIBLE_DEVICES"
        return _unused_gpu(found, consequence, unhide if hidden else 'python -c "import torch; torch.cuda.init()"')
    foreign = [capability for capability in facts.torch.capabilities if not _has_code(facts, capability)]
    if foreign:
        capability = f"{foreign[0][0]}.{foreign[0][1]}"
        consequence = f"torch has no code for compute capability {capability}, so every kernel fails"
        return _unused_gpu(found, consequence, f"{FOREIGN_TORCH}auto  (or use --device cpu)")
    return Finding(subject="gpu", level="ok", found=found)


def _no_gpu(built: str | None) -> Finding:
    if built is None:
        return Finding(subject="gpu", level="note", found="there is no GPU", consequence="models train on the CPU")
    return Finding(
        subject="gpu",
        level="note",
        found=f"no GPU is visible, and torch is built with CUDA {built}",
        consequence="models train on the CPU, and the CUDA build of torch takes some GB of disk without use; "
        "if there is a GPU, its driver or the container's access to it is missing",
        mend=f"docker run --gpus all ...  (without a GPU: {FOREIGN_TORCH}cpu)",
    )


def _unused_gpu(found: str, consequence: str, mend: str) -> Finding:
    return Finding(subject="gpu", level="warning", found=found, consequence=consequence, mend=mend)


def _has_code(facts: MachineFacts, capability: tuple[int, int]) -> bool:
    """Return whether torch has code for a GPU: of its generation, for the same or a lower minor version."""
    compiled = [name.partition("_")[2].rstrip("af") for name in facts.torch.architectures]
    versions = [(int(text[:-1]), int(text[-1])) for text in compiled if text.isdecimal()]
    return not versions or any(major == capability[0] and minor <= capability[1] for major, minor in versions)


def decoder(facts: MachineFacts) -> Finding | None:
    """Check the GPU for JPEG engines."""
    if not facts.torch.capabilities:
        return None
    engines = [capability == ENGINE_AMPERE or capability >= ENGINE_SINCE for capability in facts.torch.capabilities]
    if all(engines):
        return Finding(subject="gpu decoder", level="ok", found="the GPU has engines that decode baseline JPEG")
    return Finding(
        subject="gpu decoder",
        level="note",
        found="the GPU has no engine for JPEG",
        consequence="decoding on the GPU uses CUDA cores that the model needs; decoding on the CPU may be faster",
        mend="feedline bench ROOT --loader dali --loader threaded --out bench",
    )


def pillow(facts: MachineFacts) -> Finding:
    """Check the JPEG library of Pillow, which decodes for imagefolder and webdataset."""
    if not facts.pillow_reads_jpeg:
        consequence = "images cannot be verified, resized or loaded"
        return _weak_pillow(facts, "problem", "without JPEG support", consequence)
    if facts.libjpeg_turbo is None:
        consequence = "imagefolder and webdataset decode two to four times slower"
        return _weak_pillow(facts, "warning", "with a JPEG library that is not libjpeg-turbo", consequence)
    found = f"Pillow {facts.pillow} with libjpeg-turbo {facts.libjpeg_turbo}"
    if facts.windows or "SIMD" in facts.pillow:
        return Finding(subject="pillow", level="ok", found=found)
    return Finding(
        subject="pillow",
        level="note",
        found=found,
        consequence="Pillow-SIMD would make imagefolder and webdataset faster, but not threaded; pip compiles it, and "
        "this needs libjpeg-dev and zlib1g-dev",
        mend="pip uninstall -y pillow && pip install pillow-simd",
    )


def _weak_pillow(facts: MachineFacts, level: Level, what: str, consequence: str) -> Finding:
    mend = "pip install --force-reinstall --only-binary :all: pillow"
    found = f"Pillow {facts.pillow} {what}"
    return Finding(subject="pillow", level=level, found=found, consequence=consequence, mend=mend)


def simplejpeg(facts: MachineFacts) -> Finding | None:
    """Report simplejpeg, which decodes for threaded."""
    version = facts.environment.libraries.get("simplejpeg")
    if version is None:
        return None
    return Finding(subject="simplejpeg", level="ok", found=f"simplejpeg {version}, with its own libjpeg-turbo")


def loaders(facts: MachineFacts) -> Finding:
    """Check the libraries of all loaders."""
    missing = facts.missing_loaders
    if not missing:
        return Finding(subject="loaders", level="ok", found="all loaders are ready")
    found = f"some are not ready: {', '.join(missing)}"
    if facts.windows and set(missing) == {"dali"}:
        return Finding(subject="loaders", level="ok", found=f"{found}, which only runs on Linux")
    return Finding(
        subject="loaders",
        level="note" if set(missing) == {"dali"} else "warning",
        found=found,
        consequence="the other loaders work",
        mend=" && ".join(dict.fromkeys(missing.values())),
    )


def console(facts: MachineFacts) -> Finding:
    """Check whether the console can show all messages."""
    if facts.console.lower().replace("-", "") == "utf8":
        return Finding(subject="console", level="ok", found=facts.console)
    return Finding(
        subject="console",
        level="note",
        found=f"the encoding is {facts.console}",
        consequence="characters that this encoding lacks appear as question marks; files are not affected",
        mend="chcp 65001 && set PYTHONUTF8=1" if facts.windows else "export PYTHONUTF8=1",
    )


def long_paths(facts: MachineFacts) -> Finding | None:
    """Check Windows' limit on the length of paths."""
    if not facts.windows or facts.long_paths is None:
        return None
    if facts.long_paths:
        return Finding(subject="long paths", level="ok", found="enabled")
    return Finding(
        subject="long paths",
        level="note",
        found="disabled, so most programs cannot open paths longer than 260 characters",
        consequence="feedline prep can write such paths, but torchvision and other readers may not find the files",
        mend="as administrator: reg add HKLM\\SYSTEM\\CurrentControlSet\\Control\\FileSystem "
        "/v LongPathsEnabled /t REG_DWORD /d 1 /f",
    )


def antivirus(facts: MachineFacts) -> Finding | None:
    """Report Windows' virus scanner, whose exclusions only an administrator can read."""
    if not facts.windows:
        return None
    return Finding(
        subject="antivirus",
        level="note",
        found="Windows scans each file when it is opened, unless its folder is excluded",
        consequence="feedline prepares and loads a million small files slowly; a few large shards are not slow",
        mend=f"as administrator, for a folder that only holds images: "
        f"powershell -Command \"Add-MpPreference -ExclusionPath '{facts.place.path}'\"",
    )
