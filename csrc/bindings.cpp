// The core for Python: arrays in, arrays out, errors as exceptions. No logic lives here.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <optional>
#include <string>

#include "core/quantizer.h"
#include "core/search.h"
#include "core/simd/kernels.h"

namespace py = pybind11;
using namespace drq;

namespace {

template <class T>
using Array = py::array_t<T, py::array::c_style>;

std::string shape_of(const py::array& array) {
    std::string text = "(";
    for (py::ssize_t i = 0; i < array.ndim(); i++) text += (i ? ", " : "") + std::to_string(array.shape(i));
    return text + ")";
}

/// The array as C-contiguous T, without conversion: a silent copy of another type would hide a mistake.
template <class T>
Array<T> checked(const py::object& object, const char* name, int ndim) {
    if (!py::isinstance<Array<T>>(object))
        throw py::type_error(std::string(name) + ": expected a C-contiguous " +
                             std::string(py::str(py::dtype::of<T>())) + " array, got " +
                             (py::isinstance<py::array>(object)
                                  ? std::string(py::str(py::array(object).dtype())) +
                                        (py::array(object).flags() & py::array::c_style ? "" : ", not contiguous")
                                  : std::string(py::str(py::type::of(object).attr("__name__")))));
    Array<T> array = py::reinterpret_borrow<Array<T>>(object);
    if (array.ndim() != ndim)
        throw py::value_error(std::string(name) + ": expected " + std::to_string(ndim) + " dimensions, got shape " +
                              shape_of(array));
    return array;
}

/// A Quantizer from codebooks (M, K, d).
Quantizer quantizer_from(const Array<float>& codebooks) {
    const size_t M = size_t(codebooks.shape(0)), K = size_t(codebooks.shape(1)), d = size_t(codebooks.shape(2));
    int nbits = 0;
    while ((size_t{1} << nbits) < K) nbits++;
    if (K != size_t{1} << nbits)
        throw py::value_error("codebooks: " + std::to_string(K) + " codewords per level, expected a power of two");
    Codebooks view{d, std::vector<int>(M, nbits), {}};
    for (size_t m = 0; m < M; m++) view.level.push_back(codebooks.data() + m * K * d);
    return Quantizer::from_codebooks(view);
}

}  // namespace

PYBIND11_MODULE(_core, module) {
    module.doc() = "Compiled core of drqfaiss: quantizer arithmetic and the FAISS plug-in.";

    module.def("simd_level", [] { return simd::level_name(simd::active_level()); });
    module.def("best_simd_level", [] { return simd::level_name(simd::best_level()); });
    module.def("set_simd_level", [](const std::string& name) { simd::set_level(simd::parse_level(name)); });

    module.def("factor", [](const py::object& codebooks) {
        const Quantizer quantizer = quantizer_from(checked<float>(codebooks, "codebooks", 3));
        return py::make_tuple(quantizer.group, quantizer.scale, quantizer.shift);
    });
}
