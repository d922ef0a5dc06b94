// IndexIDMap's range search, mended in libraries where it hands on a selector instead of the parameters.
//
// Up to 1.15.0 FAISS makes parameters of its own for the index inside, so that levels and nprobe get lost;
// up to 1.14.3 it does so without a selector as well, and then ends the process.
#pragma once

#include <cstddef>

#include "faiss_abi/vtable.h"

namespace drq::plugin {

/// Where an IndexIDMap has the index inside and its ids, and how large search parameters are, in bytes.
struct IdMapLayout {
    size_t index, ids;
    size_t parameters, ivf_parameters;
};

/// From now on every IndexIDMap and IndexIDMap2 of the process hands SearchParameters and SearchParametersIVF
/// on as later releases do. Other parameters go the library's own way. Has an effect once.
///
/// Containers of indexes are FAISS's own objects, made anywhere: so this replaces the function in the
/// library's virtual tables, not in a copy.
void mend_id_maps(const Library& library, const IdMapLayout& layout);

}  // namespace drq::plugin
