"""The image of both brokers from Debian's packages, built once: its tag is the hash of its recipe.

python3 -m tests.containers.image
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

RECIPE: Final = Path(__file__).with_name("image.sh")


def debian_image() -> str:
    """Its name, built or not."""
    return f"leveler-test-brokers:{hashlib.sha256(RECIPE.read_bytes()).hexdigest()[:12]}"


def is_built(image: str) -> bool:
    """Whether the Docker daemon has it."""
    seen = subprocess.run(["docker", "image", "inspect", image], capture_output=True, check=False)
    return seen.returncode == 0


def can_build() -> bool:
    """Whether this user of this machine may: debootstrap makes a root file system."""
    return os.geteuid() == 0 and shutil.which("debootstrap") is not None


def build() -> str:
    """The image's name, when it is there. It takes about a minute, the first time."""
    image = debian_image()
    with (Path(tempfile.gettempdir()) / f"{image}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # whoever comes second finds it built
        if not is_built(image):
            _make(image)
    return image


def _make(image: str) -> None:
    made = subprocess.run(
        ["bash", str(RECIPE), image], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if made.returncode:
        raise RuntimeError(f"{RECIPE.name} ended with {made.returncode}:\n{made.stdout[-2000:]}")


if __name__ == "__main__":
    print(build())
