// Depths and search parameters between Python and C++.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>

#include "index/state.h"

namespace drq::plugin {

/// FAISS's Python proxies tell the address of the C++ object they stand for: int(index.this).
inline void* pointer(uintptr_t address) { return reinterpret_cast<void*>(address); }

inline pybind11::tuple as_tuple(const Depth& depth) {
    return pybind11::make_tuple(depth.levels, depth.refine_levels, depth.refine_factor);
}

/// What search parameters name besides FAISS's fields.
void bind_parameters(pybind11::module_& plugin);

}  // namespace drq::plugin
