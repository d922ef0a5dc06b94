"""Deep Recurrent Quantization for FAISS: one codebook, and a code length chosen at query time."""

__version__ = "0.1.0"

from drqfaiss._core import set_simd_level, simd_level
from drqfaiss._faiss.adopt import adopt
from drqfaiss._faiss.clone import clone_index
from drqfaiss._faiss.factory import index_factory
from drqfaiss._faiss.install import install, installed, uninstall
from drqfaiss._faiss.io import DamagedIndexError, read_index, write_index
from drqfaiss._faiss.shards import hand_levels_on as _hand_levels_on
from drqfaiss._faiss.tail import join_tail, split_tail
from drqfaiss._indexes.flat import IndexDRQ
from drqfaiss._indexes.ivf import IndexIVFDRQ
from drqfaiss._indexes.parameters import SearchParametersDRQ, SearchParametersIVFDRQ
from drqfaiss._least_squares.options import TrainingOptions
from drqfaiss._plugin.available import plugin_info
from drqfaiss._tail_file import check_tail
from drqfaiss._tuning.tune import tune
from drqfaiss._tuning.tuned import Tuned, TunedPoint
from drqfaiss.quantizer import Quantizer

__all__ = [
    "DamagedIndexError",
    "IndexDRQ",
    "IndexIVFDRQ",
    "Quantizer",
    "SearchParametersDRQ",
    "SearchParametersIVFDRQ",
    "TrainingOptions",
    "Tuned",
    "TunedPoint",
    "adopt",
    "check_tail",
    "clone_index",
    "index_factory",
    "install",
    "installed",
    "join_tail",
    "plugin_info",
    "read_index",
    "set_simd_level",
    "simd_level",
    "split_tail",
    "tune",
    "uninstall",
    "write_index",
]

_hand_levels_on()

# Users and pickles find classes here, wherever they are written.
for _class in (
    DamagedIndexError,
    IndexDRQ,
    IndexIVFDRQ,
    SearchParametersDRQ,
    SearchParametersIVFDRQ,
    TrainingOptions,
    Tuned,
    TunedPoint,
):
    _class.__module__ = __name__
