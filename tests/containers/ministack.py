"""ministack: an emulator of SQS, in an environment of its own, since it pins a botocore that others cannot bear.

python3 -m tests.containers.ministack installs it, once, with nothing but the standard library.
"""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path
from typing import Final

#: It is young and changes fast.
VERSION: Final = "1.5.33"

_CACHE: Final = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
FOLDER: Final = _CACHE / "leveler" / f"ministack-{VERSION}"
PROGRAM: Final = FOLDER / "bin" / "ministack"


def program() -> str | None:
    return str(PROGRAM) if PROGRAM.exists() else None


def install() -> None:
    if PROGRAM.exists():  # pip writes it last
        return
    venv.create(FOLDER, with_pip=True, clear=True)
    pip = [str(FOLDER / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "--quiet", "install"]
    subprocess.run([*pip, f"ministack=={VERSION}"], check=True)


if __name__ == "__main__":
    install()
    print(f"ministack {VERSION}", file=sys.stderr)
