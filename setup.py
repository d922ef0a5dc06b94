"""Builds the compiled module ``drqfaiss._core`` with CMake; all other metadata is in pyproject.toml."""

import os
import subprocess
import sys
from pathlib import Path

import pybind11
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent


class CMakeBuild(build_ext):
    """Runs CMake on the project's own CMakeLists.txt and leaves the module where setuptools wants it."""

    def build_extension(self, ext: Extension) -> None:
        """Configure and build one extension."""
        output = Path(self.get_ext_fullpath(ext.name)).resolve().parent
        build = Path(self.build_temp).resolve()
        subprocess.run(
            [
                # An earlier build may have used tools of an environment that is gone.
                *("cmake", "--fresh"),
                *("-S", str(ROOT), "-B", str(build), "-G", "Ninja"),
                f"-DCMAKE_BUILD_TYPE={'Debug' if self.debug else 'Release'}",
                f"-DCMAKE_LIBRARY_OUTPUT_DIRECTORY={output}",
                f"-DPython_EXECUTABLE={sys.executable}",
                f"-Dpybind11_DIR={pybind11.get_cmake_dir()}",
                f"-DDRQFAISS_WERROR={os.environ.get('DRQFAISS_WERROR', 'OFF')}",
                f"-DDRQFAISS_WITH_PLUGIN={os.environ.get('DRQFAISS_WITH_PLUGIN', 'ON')}",
            ],
            check=True,
        )
        subprocess.run(["cmake", "--build", str(build)], check=True)


setup(ext_modules=[Extension("drqfaiss._core", sources=[])], cmdclass={"build_ext": CMakeBuild})
