#include "python/tail.h"

#include <pybind11/stl.h>

#include <algorithm>
#include <memory>

#include "arrays.h"
#include "index/stored_tail.h"

namespace py = pybind11;

namespace drq {

namespace {

void require_range(const StoredTail& tail, size_t begin, size_t end) {
    if (begin > end || end > tail.size())
        throw py::index_error("rows: got " + std::to_string(begin) + " to " + std::to_string(end) +
                              ", expected within 0 to " + std::to_string(tail.size()));
}

/// A copy of rows [begin, end), (n, row_size).
Array<uint8_t> rows(const StoredTail& tail, size_t begin, size_t end) {
    require_range(tail, begin, end);
    const Tail found = tail.rows(0);
    Array<uint8_t> copy({end - begin, tail.row_size()});
    uint8_t* out = copy.mutable_data();
    for (size_t i = begin; i < end; i++) {
        const auto [codes, row] = found.find(i);
        out = std::copy_n(codes.row(row), codes.code_size, out);
    }
    return copy;
}

/// A copy of all codebooks, level after level.
Array<float> codebooks(const StoredTail& tail) {
    size_t size = 0;
    for (int nbits : tail.nbits()) size += (size_t{1} << nbits) * tail.d();
    Array<float> copy{py::ssize_t(size)};
    float* out = copy.mutable_data();
    for (size_t m = 0; m < tail.levels(); m++)
        out = std::copy_n(tail.codebook(m), (size_t{1} << tail.nbits()[m]) * tail.d(), out);
    return copy;
}

void append(StoredTail& tail, const py::object& rows_) {
    const Array<uint8_t> rows = checked<uint8_t>(rows_, "rows", 2);
    if (size_t(rows.shape(1)) != tail.row_size())
        throw py::value_error("rows: got shape " + shape_of(rows) + ", expected rows of " +
                              std::to_string(tail.row_size()) + " bytes");
    tail.append(tail.size(), size_t(rows.shape(0)), rows.data());
}

void add_to(const StoredTail& tail, const py::object& rows_, const py::object& x_) {
    const Array<int64_t> rows = checked<int64_t>(rows_, "rows", 1);
    Array<float> x = checked<float>(x_, "x", 2);
    if (x.shape(0) != rows.shape(0) || size_t(x.shape(1)) != tail.d())
        throw py::value_error("x: got shape " + shape_of(x) + ", expected (" + std::to_string(rows.size()) +
                              ", " + std::to_string(tail.d()) + ")");
    for (py::ssize_t i = 0; i < rows.size(); i++)
        require_range(tail, size_t(rows.data()[i]), size_t(rows.data()[i]) + 1);
    tail.add_to(size_t(rows.size()), rows.data(), x.mutable_data());
}

}  // namespace

void bind_tail(py::module_& module) {
    using py::arg;
    py::class_<StoredTail, std::shared_ptr<StoredTail>>(module, "StoredTail")
        .def(py::init([](int file, const std::string& name, size_t d, const std::vector<int>& nbits, size_t n,
                         size_t codebooks_at, size_t rows_at) {
                 return std::make_shared<StoredTail>(file, name,
                                                     TailShape{d, nbits, n, codebooks_at, rows_at});
             }),
             arg("file"), arg("name"), arg("d"), arg("nbits"), arg("n"), arg("codebooks_at"), arg("rows_at"))
        .def_property_readonly("name", &StoredTail::name)
        .def_property_readonly("nbits", &StoredTail::nbits)
        .def_property_readonly("stored", &StoredTail::stored)
        .def("__len__", &StoredTail::size)
        .def_property_readonly("row_bytes", &StoredTail::row_size)
        .def("rows", &rows, arg("begin"), arg("end"))
        .def("codebooks", &codebooks)
        .def("append", &append, arg("rows"))
        .def("add_to", &add_to, arg("rows"), arg("x"));
}

}  // namespace drq
