#include "python/parameters.h"

#include "faiss_plugin/parameters.h"

namespace drq::plugin {

void bind_parameters(pybind11::module_& plugin) {
    plugin.def("parameter_depth",
               [](uintptr_t parameters) { return as_tuple(parameter_depth(pointer(parameters))); });
    plugin.def("set_parameter_depth",
               [](uintptr_t parameters, size_t levels, size_t refine_levels, size_t refine_factor) {
                   set_parameter_depth(pointer(parameters), {levels, refine_levels, refine_factor});
               });
    plugin.def("leave_nprobe",
               [](uintptr_t parameters, bool to_index) { leave_nprobe(pointer(parameters), to_index); });
    plugin.def("drop_parameters", [](uintptr_t parameters) { drop_parameters(pointer(parameters)); });
}

}  // namespace drq::plugin
