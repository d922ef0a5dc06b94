// Levels of codes in a mapped file, for Python.
#pragma once

#include <pybind11/pybind11.h>

namespace drq {

void bind_tail(pybind11::module_& module);

}  // namespace drq
