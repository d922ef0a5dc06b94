// In place of plugin.cpp in a module that is built without the plug-in: indexes search through Python.
#include <stdexcept>

#include "faiss_abi/openmp.h"
#include "faiss_plugin/fork.h"
#include "gil.h"
#include "python/parameters.h"
#include "python/plugin.h"

namespace py = pybind11;

namespace drq::plugin {

namespace {

void stop_on_signals() {
    if (handle_signals()) throw std::runtime_error("interrupted");
}

}  // namespace

void bind_plugin(py::module_& module) {
    py::module_ plugin =
        module.def_submodule("plugin", "What indexes need that search through Python: there is no plug-in.");
    plugin.attr("is_built") = false;
    bind_parameters(plugin);
    set_interrupt_check(stop_on_signals);
    plugin.def("open_threads", [](uintptr_t) { watch_forks(nullptr); });
    plugin.def("set_trainer", [](const py::object&) {});  // FAISS calls none: our indexes train themselves
}

}  // namespace drq::plugin
