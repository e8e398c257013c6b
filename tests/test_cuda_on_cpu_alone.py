"""The room cuda_on_cpu needs nothing else of the package, and of others' only NumPy."""

import shutil
import subprocess
import sys
from pathlib import Path

import embag_edu.cuda_on_cpu

ONLY = """
import importlib.abc, pkgutil, sys
import numpy

class Gate(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        first = name.partition(".")[0]
        known = first in {*sys.stdlib_module_names, "numpy", "embag_edu"}
        if not known and not first.startswith("_sysconfigdata"):  # of this build of Python
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Gate())
sys.path.insert(0, sys.argv[1])
import embag_edu.cuda_on_cpu as room
for module in pkgutil.walk_packages(room.__path__, room.__name__ + "."):
    __import__(module.name)
assert room.__file__.startswith(sys.argv[1]), room.__file__
print(room.device("cpu").kind)
"""


def test_the_room_alone(tmp_path):
    """A copy of its folder, below nothing that has an __init__.py."""
    folder = Path(embag_edu.cuda_on_cpu.__file__).parent
    shutil.copytree(folder, tmp_path / "embag_edu" / folder.name)
    command = [sys.executable, "-P", "-c", ONLY, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env={})
    assert (done.stdout, done.stderr) == ("cpu\n", "")
