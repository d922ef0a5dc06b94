"""What `drqfaiss` offers; FAISS is loaded with it."""

from __future__ import annotations

from drqfaiss._core import set_simd_level as set_simd_level
from drqfaiss._core import simd_level as simd_level
from drqfaiss._faiss.adopt import adopt as adopt
from drqfaiss._faiss.clone import clone_index as clone_index
from drqfaiss._faiss.factory import index_factory as index_factory
from drqfaiss._faiss.install import install as install
from drqfaiss._faiss.install import installed as installed
from drqfaiss._faiss.install import uninstall as uninstall
from drqfaiss._faiss.io import (
    DamagedIndexError as DamagedIndexError,
)
from drqfaiss._faiss.io import (
    read_index as read_index,
)
from drqfaiss._faiss.io import (
    write_index as write_index,
)
from drqfaiss._faiss.shards import hand_levels_on as _hand_levels_on
from drqfaiss._faiss.tail import join_tail as join_tail
from drqfaiss._faiss.tail import split_tail as split_tail
from drqfaiss._indexes.flat import IndexDRQ as IndexDRQ
from drqfaiss._indexes.ivf import IndexIVFDRQ as IndexIVFDRQ
from drqfaiss._indexes.parameters import (
    SearchParametersDRQ as SearchParametersDRQ,
)
from drqfaiss._indexes.parameters import (
    SearchParametersIVFDRQ as SearchParametersIVFDRQ,
)
from drqfaiss._least_squares.options import TrainingOptions as TrainingOptions
from drqfaiss._planning.plan import plan as plan
from drqfaiss._planning.planned import Plan as Plan
from drqfaiss._planning.planned import PlannedIndex as PlannedIndex
from drqfaiss._plugin.available import plugin_info as plugin_info
from drqfaiss._tail_file import check_tail as check_tail
from drqfaiss._tuning.tune import tune as tune
from drqfaiss._tuning.tuned import Tuned as Tuned
from drqfaiss._tuning.tuned import TunedPoint as TunedPoint
from drqfaiss.quantizer import Quantizer as Quantizer

_hand_levels_on()
