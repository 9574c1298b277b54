"""What a stage was made of, in words."""

from __future__ import annotations

from bench.made import Git, Part


def commit_words(git: Git) -> str:
    """Return a commit, and whether there were changes beside it."""
    if git.commit is None:
        return "no commit known"
    changed = f", with changes of the hash {git.changes}" if git.changes else ", with changes" if git.dirty else ""
    return f"commit {git.commit}{changed}"


def machine_words(part: Part) -> str:
    """Return the machine that a part of a stage ran on, with its class and what was kept from use."""
    hardware = part.hardware
    words = [f"{hardware.cpu}, {hardware.cores} cores, {hardware.memory_gib} GiB", *hardware.gpus]
    words.append(f"class {part.machine}")
    words += [f"kernels {part.kernels}"] if part.kernels else []
    return "; ".join([*words, *(f"{name}={value}" for name, value in part.limits.items())])


def ran_as_words(part: Part) -> str:
    """Return how it ran there: processes, threads, precision, norm groups, TF32, allocator, unreadable files."""
    threads = "" if part.threads is None else f" of {part.threads} thread{'s' if part.threads > 1 else ''}"
    words = [f"{part.processes} process{'es' if part.processes > 1 else ''}{threads}"]
    words += [part.precision] if part.precision else []
    if part.norm_groups is not None:
        words.append(f"norms over {part.norm_groups.images} images ({part.norm_groups.groups} in a batch)")
    if part.tf32:
        words.append(f"TF32 for {' and '.join(name for name, on in part.tf32.items() if on) or 'nothing'}")
    return "; ".join([*words, f"allocator {part.allocator}", f"unreadable files: {part.unreadable}"])
