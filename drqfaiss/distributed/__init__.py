"""Build, merge and search an index in shards: on many machines with Ray, or in one process without.

All shards share one trained index, so that distances compare, and a search returns what one index of all the
vectors would. They lie in a folder with a manifest, on a path that every machine mounts.
"""

from drqfaiss.distributed._building import build_shards
from drqfaiss.distributed._index import Found, MissingShardsError, ShardedIndex
from drqfaiss.distributed._manifest import Manifest, ShardFile
from drqfaiss.distributed._merging import merge_shards

__all__ = [
    "Found",
    "Manifest",
    "MissingShardsError",
    "ShardFile",
    "ShardedIndex",
    "build_shards",
    "merge_shards",
]
