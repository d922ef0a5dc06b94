// What indexes search and encode with where the plug-in cannot be in FAISS: codes that Python hands over.
#pragma once

#include <pybind11/pybind11.h>

namespace drq {

/// Adds ArrayIndex to the module.
void bind_array_index(pybind11::module_& module);

}  // namespace drq
