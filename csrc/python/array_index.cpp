#include "array_index.h"

#include <pybind11/stl.h>

#include <algorithm>
#include <optional>

#include "arrays.h"
#include "core/search/flat.h"
#include "core/search/two_stage.h"
#include "faiss_abi/openmp.h"
#include "gil.h"
#include "index/codec_io.h"
#include "index/flat_state.h"

namespace py = pybind11;

namespace drq {

namespace {

using plugin::executor;

/// Codebooks, one level after the other in one array, and codes; they stay the caller's.
class ArrayIndex {
  public:
    py::tuple search(const py::object& codebooks, const std::vector<int>& nbits, const py::object& codes,
                     const py::object& x_, size_t k, size_t levels, bool is_l2, const py::object& mask_,
                     size_t refine_levels, size_t refine_factor) {
        const Array<float> x = checked<float>(x_, "x", 2);
        const FlatView view = view_of(codebooks, nbits, codes, x, is_l2);
        const auto mask = checked_mask(mask_, view);
        if (k < 1) throw py::value_error("k: " + std::to_string(k) + ", expected at least 1");
        const Depth depth = Depth{levels, refine_levels, refine_factor}.checked(view.codebooks.nbits.size(),
                                                                                view.tail_levels);
        Array<float> distances({x.shape(0), py::ssize_t(k)});
        Array<int64_t> ids({x.shape(0), py::ssize_t(k)});
        float* distance = distances.mutable_data();
        int64_t* id = ids.mutable_data();
        const size_t n = size_t(x.shape(0));
        const float* query = x.data();
        {
            const Unlocked unlocked;
            with_database(view, n, depth.levels, mask, [&](const Database& database) {
                two_stage_search(database, {depth.refine_levels, depth.refine_factor}, n, query, k, distance,
                                 id, executor());
            });
        }
        return py::make_tuple(distances, ids);
    }

    py::tuple range_search(const py::object& codebooks, const std::vector<int>& nbits,
                           const py::object& codes, const py::object& x_, float radius, size_t levels,
                           bool is_l2, const py::object& mask_) {
        const Array<float> x = checked<float>(x_, "x", 2);
        const FlatView view = view_of(codebooks, nbits, codes, x, is_l2);
        const auto mask = checked_mask(mask_, view);
        const size_t n = size_t(x.shape(0));
        const float* query = x.data();
        std::vector<std::vector<Neighbour>> found;
        {
            const Unlocked unlocked;
            with_database(view, n, levels, mask, [&](const Database& database) {
                found = drq::range_search(database, n, query, radius, executor());
            });
        }
        return as_arrays(found);
    }

    Array<int32_t> encode(const py::object& codebooks, const std::vector<int>& nbits, const py::object& x_,
                          int beam) {
        const Array<float> x = checked<float>(x_, "x", 2);
        const FlatView view =
            view_of(codebooks, nbits, Array<uint8_t>(std::vector<py::ssize_t>{0, 0}), x, true);
        const size_t n = size_t(x.shape(0)), M = view.codebooks.nbits.size();
        Array<int32_t> codes({n, M});
        int32_t* out = codes.mutable_data();
        const float* vectors = x.data();
        const Unlocked unlocked;
        encode_in_batches(*state_.encoder(view), n, vectors, beam, executor(),
                          [&](size_t begin, size_t count, const int32_t* batch) {
                              std::copy_n(batch, count * M, out + begin * M);
                          });
        return codes;
    }

    size_t pack(const py::object& codebooks, const std::vector<int>& nbits, const py::object& codes, size_t d,
                bool is_l2, size_t levels) {
        const FlatView view = view_of(codebooks, nbits, codes,
                                      Array<float>(std::vector<py::ssize_t>{0, py::ssize_t(d)}), is_l2);
        const Unlocked unlocked;
        state_.pack(view, levels);
        return state_.plane_bytes();
    }

    void set_tail(const StoredTail& tail) { state_.set_tail(tail); }
    std::shared_ptr<const StoredTail> tail() const { return state_.tail(); }

    void append_to_tail(size_t at, const py::object& codes_) {
        const Array<int32_t> codes = checked<int32_t>(codes_, "codes", 2);
        std::vector<uint8_t> rows;
        const size_t n = size_t(codes.shape(0));
        if (const std::shared_ptr<const StoredTail> tail = state_.tail()) {
            rows.resize(n * tail->row_size());
            tail->pack(n, codes.data(), size_t(codes.shape(1)), rows.data());
        }
        if (!rows.empty()) state_.append_to_tail(at, n, rows.data());
    }

    void unpack() { state_.unpack(); }
    size_t packed_levels() const { return state_.packed_levels(); }
    void forget() { state_.forget(); }
    void set_gain_weights(const std::vector<float>& weights) { state_.set_gain_weights(weights); }

  private:
    /// The arrays as FAISS would hold them, and the levels of the tail; x (n, d) tells the dimension.
    FlatView view_of(const py::object& codebooks_, const std::vector<int>& nbits, const py::object& codes_,
                     const Array<float>& x, bool is_l2) const {
        const Array<float> codebooks = checked<float>(codebooks_, "codebooks", 1);
        const Array<uint8_t> codes = checked<uint8_t>(codes_, "codes", 2);
        FlatView view;
        view.d = size_t(x.shape(1));
        view.ntotal = size_t(codes.shape(0));
        view.metric_type = is_l2;
        view.codes = {codes.data(), view.ntotal, size_t(codes.shape(1))};
        view.codes_size = size_t(codes.size());
        view.codebooks = {view.d, nbits, {}};
        view.codebooks_size = size_t(codebooks.size());
        size_t floats = 0, bits = 0;
        for (int width : nbits) {
            if (width < 1 || width > 16)
                throw py::value_error("nbits: got " + std::to_string(width) + ", expected 1 to 16");
            view.codebooks.level.push_back(codebooks.data() + floats);
            floats += (size_t{1} << width) * view.d;
            bits += size_t(width);
        }
        if (nbits.empty() || floats != view.codebooks_size)
            throw py::value_error("codebooks: got " + std::to_string(view.codebooks_size) +
                                  " floats, expected " + std::to_string(floats));
        if (view.ntotal && size_t(codes.shape(1)) * 8 < bits)
            throw py::value_error("codes: got shape " + shape_of(codes) + ", expected rows of at least " +
                                  std::to_string(bits) + " bits");
        view.is_trained = true;
        state_.add_tail(view);
        return view;
    }

    static std::optional<Array<bool>> checked_mask(const py::object& object, const FlatView& view) {
        if (object.is_none()) return {};
        Array<bool> mask = checked<bool>(object, "mask", 1);
        if (size_t(mask.shape(0)) != view.ntotal)
            throw py::value_error("mask: got shape " + shape_of(mask) + ", expected one entry for each code");
        return mask;
    }

    template <class Search>
    void with_database(const FlatView& view, size_t n, size_t levels, const std::optional<Array<bool>>& mask,
                       const Search& search) {
        const size_t hot = view.codebooks.nbits.size() - view.tail_levels;
        if (levels < 1 || levels > hot)
            throw std::invalid_argument("levels: got " + std::to_string(levels) + ", expected 1 to " +
                                        std::to_string(hot));
        const Prepared prepared = state_.prepare(view, levels, n, executor());
        const Selector selector{
            [](const void* self, int64_t id) { return static_cast<const bool*>(self)[id]; },
            mask ? mask->data() : nullptr};
        search(prepared.database(view, levels, mask ? &selector : nullptr));
    }

    /// As FAISS returns ranges: offsets (n + 1), distances, ids.
    static py::tuple as_arrays(const std::vector<std::vector<Neighbour>>& found) {
        Array<uint64_t> lims(py::ssize_t(found.size() + 1));
        uint64_t* end = lims.mutable_data();
        *end = 0;
        for (const auto& neighbours : found) {
            end[1] = end[0] + neighbours.size();
            end++;
        }
        Array<float> distances{py::ssize_t(*end)};
        Array<int64_t> ids{py::ssize_t(*end)};
        float* distance = distances.mutable_data();
        int64_t* id = ids.mutable_data();
        for (const auto& neighbours : found)
            for (const Neighbour& neighbour : neighbours) {
                *distance++ = neighbour.distance;
                *id++ = neighbour.id;
            }
        return py::make_tuple(lims, distances, ids);
    }

    FlatState state_;
};

}  // namespace

void bind_array_index(py::module_& module) {
    using py::arg;
    py::class_<ArrayIndex>(module, "ArrayIndex")
        .def(py::init<>())
        .def("search", &ArrayIndex::search, arg("codebooks"), arg("nbits"), arg("codes"), arg("x"), arg("k"),
             arg("levels"), arg("is_l2"), arg("mask") = py::none(), arg("refine_levels") = 0,
             arg("refine_factor") = 0)
        .def("range_search", &ArrayIndex::range_search, arg("codebooks"), arg("nbits"), arg("codes"),
             arg("x"), arg("radius"), arg("levels"), arg("is_l2"), arg("mask") = py::none())
        .def("encode", &ArrayIndex::encode, arg("codebooks"), arg("nbits"), arg("x"), arg("beam"))
        .def("pack", &ArrayIndex::pack, arg("codebooks"), arg("nbits"), arg("codes"), arg("d"), arg("is_l2"),
             arg("levels") = 0)
        .def("set_tail", &ArrayIndex::set_tail, arg("tail"))
        .def("tail", &ArrayIndex::tail)
        .def("append_to_tail", &ArrayIndex::append_to_tail, arg("at"), arg("codes"))
        .def("unpack", &ArrayIndex::unpack)
        .def("packed_levels", &ArrayIndex::packed_levels)
        .def("forget", &ArrayIndex::forget)
        .def("set_gain_weights", &ArrayIndex::set_gain_weights, arg("weights"));
}

}  // namespace drq
