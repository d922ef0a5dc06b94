"""Deep Recurrent Quantization for FAISS: one codebook, and a code length chosen at query time."""

__version__ = "0.1.0"

from drqfaiss import _shards as _shards  # IndexShardsIVF hands levels on
from drqfaiss._core import set_simd_level, simd_level
from drqfaiss._least_squares.options import TrainingOptions
from drqfaiss._plugin import plugin_info
from drqfaiss.adopt import adopt, clone_index
from drqfaiss.factory import index_factory
from drqfaiss.index import IndexDRQ
from drqfaiss.install import install, installed, uninstall
from drqfaiss.io import read_index, write_index
from drqfaiss.ivf_index import IndexIVFDRQ
from drqfaiss.parameters import SearchParametersDRQ, SearchParametersIVFDRQ
from drqfaiss.quantizer import Quantizer

__all__ = [
    "IndexDRQ",
    "IndexIVFDRQ",
    "Quantizer",
    "SearchParametersDRQ",
    "SearchParametersIVFDRQ",
    "TrainingOptions",
    "adopt",
    "clone_index",
    "index_factory",
    "install",
    "installed",
    "plugin_info",
    "read_index",
    "set_simd_level",
    "simd_level",
    "uninstall",
    "write_index",
]
