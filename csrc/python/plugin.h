// The plug-in for Python: the submodule drqfaiss._core.plugin.
#pragma once

#include <pybind11/pybind11.h>

namespace drq::plugin {

void bind_plugin(pybind11::module_& module);

}  // namespace drq::plugin
