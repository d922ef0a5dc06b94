#include "python/plugin.h"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <cstdint>
#include <stdexcept>

#include "faiss_abi/errors.h"
#include "faiss_abi/layout.h"
#include "faiss_abi/openmp.h"
#include "faiss_plugin/adopt.h"
#include "faiss_plugin/common.h"
#include "faiss_plugin/flat_class.h"
#include "faiss_plugin/id_map.h"
#include "faiss_plugin/scanner.h"
#include "gil.h"
#include "index/state.h"
#include "python/parameters.h"

namespace py = pybind11;

namespace drq::plugin {

namespace {

py::dict facts() {
    py::dict found;
    found["openmp"] = openmp_library();  // threads are ready before libfaiss's classes are looked at
    found["threads"] = executor().threads();
    if (!is_open()) return found;
    found["libfaiss"] = library().path();
    found["slots"] = slots();
    return found;
}

/// The file that an object's class is from, and the symbol of its virtual table; empty if there is none.
py::tuple home(uintptr_t object) {
    const Symbol vtable = symbol_at(*static_cast<const void* const*>(pointer(object)));
    return py::make_tuple(vtable.library, vtable.name);
}

py::dict describe_index(const IndexView& view) {
    py::dict seen;
    seen["d"] = view.d;
    seen["ntotal"] = view.ntotal;
    seen["is_trained"] = view.is_trained;
    seen["metric_type"] = view.metric_type;
    seen["nbits"] = view.codebooks.nbits;
    seen["codebooks_size"] = view.codebooks_size;
    seen["search_type"] = view.search_type;
    seen["max_beam_size"] = view.max_beam_size;
    seen["norm_bits"] = view.norm_bits;
    return seen;
}

py::dict describe(uintptr_t address) {
    const FlatView view = flat_view(pointer(address));
    py::dict seen = describe_index(view);
    seen["code_size"] = view.codes.code_size;
    seen["codes"] = reinterpret_cast<uintptr_t>(view.codes.data);
    seen["codes_size"] = view.codes_size;
    seen["codes_owned"] = view.codes_owned;
    return seen;
}

py::dict describe_ivf(uintptr_t address) {
    const IvfView view = ivf_view(pointer(address));
    py::dict seen = describe_index(view);
    seen["quantizer"] = reinterpret_cast<uintptr_t>(view.quantizer);
    seen["invlists"] = reinterpret_cast<uintptr_t>(view.lists);
    seen["nlist"] = view.nlist;
    seen["nprobe"] = view.nprobe;
    seen["max_codes"] = view.max_codes;
    seen["code_size"] = view.code_size;
    seen["parallel_mode"] = view.parallel_mode;
    seen["by_residual"] = view.by_residual;
    return seen;
}

/// For calls that take the mutex of an index's state: a thread may compute while it has it.
using WithoutGil = py::call_guard<Unlocked>;

void stop_on_signals() {
    if (handle_signals()) throw_faiss_exception("interrupted");
}

std::vector<float> trained_by(const py::function& train, const TrainingJob& job) {
    const py::array_t<float> x({job.n, job.d}, job.x);
    const py::tuple arguments = py::make_tuple(x, job.nbits, job.options);
    const auto result = py::reinterpret_steal<py::object>(
        or_park([&] { return PyObject_CallObject(train.ptr(), arguments.ptr()); }));
    if (!result) throw py::error_already_set();
    const auto codebooks = py::cast<py::array_t<float, py::array::c_style | py::array::forcecast>>(result);
    return {codebooks.data(), codebooks.data() + codebooks.size()};
}

/// Hands training to train(x, nbits, options) -> codebooks. FAISS calls from its own threads without the GIL,
/// and only a C++ exception may leave through it; Python's is left set for who called FAISS.
Trainer python_trainer(py::function train) {
    return [train = std::move(train)](const TrainingJob& job) {
        const Locked gil;
        try {
            return trained_by(train, job);
        } catch (py::error_already_set& error) {
            const std::string what = error.what();
            error.restore();
            throw_faiss_exception(what);
        }
    };
}

}  // namespace

void bind_plugin(py::module_& module) {
    py::module_ plugin = module.def_submodule(
        "plugin", "IndexDRQ and IndexIVFDRQ inside FAISS, by the addresses of C++ objects.");

    plugin.def("open", [](uintptr_t index) {
        open_plugin(pointer(index));
        return facts();
    });
    plugin.def("open_threads", [](uintptr_t object) { open_threads(pointer(object)); });
    plugin.def("open_ivf", &open_ivf);
    plugin.def("mend_id_maps", [](size_t index, size_t ids, size_t parameters, size_t ivf_parameters) {
        mend_id_maps(library(), {index, ids, parameters, ivf_parameters});
    });
    plugin.def("facts", &facts);
    plugin.def("home", &home);
    plugin.def("virtual_functions", [](const char* symbol) { return Vtable(library(), symbol).functions(); });
    plugin.def("shares_allocator", [] { return shares_allocator(library()); });
    plugin.def("rooms", [] {
        return std::map<std::string, size_t>{{"InvertedListScanner", kScannerRoom},
                                             {"IDSelectorRange", kSelectorRoom}};
    });
    plugin.def("set_layout", &set_layout);
    plugin.def("word_at",
               [](uintptr_t object, const std::string& name) { return word_at(pointer(object), name); });
    plugin.def("describe", &describe);
    plugin.def("describe_ivf", &describe_ivf);
    plugin.def("is_member", [](uintptr_t selector, size_t slot, int64_t id) {
        return call_virtual<bool>(static_cast<const void*>(pointer(selector)), slot, id);
    });

    plugin.def("adopt", [](uintptr_t index) { adopt(pointer(index)); }, WithoutGil());
    plugin.def("is_adopted", [](uintptr_t index) { return is_adopted(pointer(index)); });
    plugin.def("why_not", [](uintptr_t index) { return why_not(pointer(index)); });
    plugin.def("count", &state_count);
    plugin.def(
        "cached_norms", [](uintptr_t index) { return state_of(pointer(index))->cached_norms(); },
        WithoutGil());

    plugin.def(
        "pack", [](uintptr_t index, size_t levels) { return pack_flat(pointer(index), levels); },
        WithoutGil());
    plugin.def("unpack", [](uintptr_t index) { unpack_flat(pointer(index)); }, WithoutGil());
    plugin.def(
        "packed_levels", [](uintptr_t index) { return packed_levels_flat(pointer(index)); }, WithoutGil());

    plugin.def(
        "set_tail", [](uintptr_t index, const StoredTail& tail) { set_tail_flat(pointer(index), tail); },
        WithoutGil());
    plugin.def("tail", [](uintptr_t index) { return tail_of_flat(pointer(index)); }, WithoutGil());

    plugin.def("depth", [](uintptr_t index) { return as_tuple(state_of(pointer(index))->depth()); });
    plugin.def("set_depth", [](uintptr_t index, size_t levels, size_t refine_levels, size_t refine_factor) {
        const auto state = state_of(pointer(index));
        state->levels = levels;
        state->refine_levels = refine_levels;
        state->refine_factor = refine_factor;
    });
    plugin.def(
        "training", [](uintptr_t index) { return state_of(pointer(index))->training(); }, WithoutGil());
    plugin.def(
        "set_training",
        [](uintptr_t index, const std::string& options) { state_of(pointer(index))->set_training(options); },
        WithoutGil());
    plugin.def(
        "set_gain_weights",
        [](uintptr_t index, const std::vector<float>& weights) {
            state_of(pointer(index))->set_gain_weights(weights);
        },
        WithoutGil());
    set_interrupt_check(stop_on_signals);
    plugin.def("set_trainer", [](py::function train) { set_trainer(python_trainer(std::move(train))); });

    plugin.attr("is_built") = true;
    bind_parameters(plugin);
}

}  // namespace drq::plugin
