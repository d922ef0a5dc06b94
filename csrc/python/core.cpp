// The core for Python: arrays in, arrays out, errors as exceptions. No logic lives here.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <string>

#include "array_index.h"
#include "arrays.h"
#include "core/encode/encoder.h"
#include "core/isa/kernels.h"
#include "core/quantizer.h"
#include "faiss_abi/openmp.h"
#include "gil.h"
#include "python/plugin.h"
#include "python/tail.h"

namespace py = pybind11;
using namespace drq;

namespace {

/// The bits of a level of K codewords.
int bits_of(size_t K) {
    int nbits = 0;
    while ((size_t{1} << nbits) < K) nbits++;
    if (K != size_t{1} << nbits)
        throw py::value_error("codebooks: " + std::to_string(K) +
                              " codewords per level, expected a power of two");
    return nbits;
}

/// A Quantizer from a sequence of codebooks (K, d), or an array of them.
Quantizer quantizer_from(const py::object& codebooks) {
    std::vector<Array<float>> levels;
    for (const py::handle& level : codebooks)
        levels.push_back(checked<float>(py::reinterpret_borrow<py::object>(level), "codebook of a level", 2));
    Codebooks view{levels.empty() ? 1 : size_t(levels[0].shape(1)), {}, {}};
    for (const Array<float>& level : levels) {
        if (size_t(level.shape(1)) != view.d)
            throw py::value_error("codebooks: expected " + std::to_string(view.d) + " columns, got shape " +
                                  shape_of(level));
        view.nbits.push_back(bits_of(size_t(level.shape(0))));
        view.level.push_back(level.data());
    }
    return Quantizer::from_codebooks(view);
}

/// By base, where its block lies among the axes and how large it is; (-1, d) for one in no block.
std::vector<std::pair<int, size_t>> ranges_of(const Quantizer& quantizer) {
    std::vector<std::pair<int, size_t>> ranges;
    for (const Quantizer::Base& base : quantizer.bases) {
        const bool dense = base.block == Quantizer::kDense;
        ranges.emplace_back(dense ? -1 : int(quantizer.blocks[size_t(base.block)].begin), base.depth());
    }
    return ranges;
}

/// The axes of all blocks as rows, (size, d).
Array<float> axes_of(const Quantizer& quantizer) {
    size_t size = 0;
    for (const Quantizer::Block& block : quantizer.blocks) size += block.size;
    Array<float> axes({py::ssize_t(size), py::ssize_t(quantizer.d)});
    for (size_t i = 0; i < size; i++)
        for (size_t j = 0; j < quantizer.d; j++)
            axes.mutable_at(py::ssize_t(i), py::ssize_t(j)) = quantizer.axes[j * quantizer.axes_stride + i];
    return axes;
}

Array<int32_t> encode_array(const py::object& x, const py::object& codebooks, int beam,
                            const std::vector<float>& gain_weights) {
    const Array<float> vectors = checked<float>(x, "x", 2);
    const Encoder encoder(std::make_shared<const Quantizer>(quantizer_from(codebooks)), gain_weights);
    const Quantizer& quantizer = encoder.quantizer();
    if (size_t(vectors.shape(1)) != quantizer.d)
        throw py::value_error("x: expected " + std::to_string(quantizer.d) + " columns, got shape " +
                              shape_of(vectors));
    const py::ssize_t n = vectors.shape(0);
    Array<int32_t> codes({n, py::ssize_t(quantizer.levels())});
    const float* input = vectors.data();
    int32_t* output = codes.mutable_data();
    const Unlocked unlocked;
    encoder.encode(size_t(n), input, beam, output, plugin::executor());
    return codes;
}

Array<double> code_sums_array(const py::object& x, const py::object& codes, py::ssize_t K) {
    const Array<float> vectors = checked<float>(x, "x", 2);
    const Array<int32_t> indices = checked<int32_t>(codes, "codes", 2);
    const py::ssize_t n = vectors.shape(0), d = vectors.shape(1), M = indices.shape(1);
    if (indices.shape(0) != n)
        throw py::value_error("codes: expected " + std::to_string(n) + " rows like x, got shape " +
                              shape_of(indices));
    if (K < 1) throw py::value_error("K: " + std::to_string(K) + ", expected at least 1");
    for (py::ssize_t i = 0; i < n * M; i++)
        if (indices.data()[i] < 0 || indices.data()[i] >= K)
            throw py::value_error("codes: " + std::to_string(indices.data()[i]) + " in row " +
                                  std::to_string(i / M) + ", expected 0 to " + std::to_string(K - 1));
    Array<double> sums({M, K, d});
    const float* input = vectors.data();
    const int32_t* index = indices.data();
    double* output = sums.mutable_data();
    const Unlocked unlocked;
    code_sums(size_t(n), size_t(d), input, size_t(M), size_t(K), index, output, plugin::executor());
    return sums;
}

/// Encoding and the sums for training.
void bind_encode(py::module_& module) {
    module.def("encode", encode_array, py::arg("x"), py::arg("codebooks"), py::arg("beam"),
               py::arg("gain_weights") = std::vector<float>{});
    module.def("code_sums", code_sums_array, py::arg("x"), py::arg("codes"), py::arg("K"));
}

}  // namespace

PYBIND11_MODULE(_core, module) {
    module.doc() = "Compiled core of drqfaiss: quantizer arithmetic and the FAISS plug-in.";

    isa::active_target();  // a DRQFAISS_SIMD that cannot be had fails the import, not the first search
    module.def("simd_level", [] { return isa::target_name(isa::active_target()); });
    module.def("best_simd_level", [] { return isa::target_name(isa::best_target()); });
    module.def("set_simd_level", [](const std::string& name) { isa::set_target(isa::parse_target(name)); });

    module.def("factor", [](const py::object& codebooks) {
        const Quantizer quantizer = quantizer_from(codebooks);
        std::vector<float> shift = quantizer.shift;
        for (float& value : shift) value *= quantizer.unit;
        return py::make_tuple(quantizer.group, quantizer.scale, shift);
    });
    module.def("blocks", [](const py::object& codebooks) {
        const Quantizer quantizer = quantizer_from(codebooks);
        return py::make_tuple(ranges_of(quantizer), axes_of(quantizer));
    });

    bind_encode(module);
    bind_tail(module);
    bind_array_index(module);

    // As FAISS's own functions do: a Python exception that is set already is the one to raise.
    py::register_local_exception_translator([](std::exception_ptr error) {
        if (!PyErr_Occurred()) std::rethrow_exception(error);
    });

    plugin::bind_plugin(module);
}
