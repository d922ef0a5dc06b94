// NumPy arrays for the bindings: checked, never converted.
#pragma once

#include <pybind11/numpy.h>

#include <string>

namespace drq {

template <class T>
using Array = pybind11::array_t<T, pybind11::array::c_style>;

inline std::string shape_of(const pybind11::array& array) {
    std::string text = "(";
    for (pybind11::ssize_t i = 0; i < array.ndim(); i++)
        text += (i ? ", " : "") + std::to_string(array.shape(i));
    return text + ")";
}

/// The array as C-contiguous T, without conversion: a silent copy of another type would hide a mistake.
template <class T>
Array<T> checked(const pybind11::object& object, const char* name, int ndim) {
    namespace py = pybind11;
    if (!py::isinstance<Array<T>>(object))
        throw py::type_error(
            std::string(name) + ": expected a C-contiguous " + std::string(py::str(py::dtype::of<T>())) +
            " array, got " +
            (py::isinstance<py::array>(object)
                 ? std::string(py::str(py::array(object).dtype())) +
                       (py::array(object).flags() & py::array::c_style ? "" : ", not contiguous")
                 : std::string(py::str(py::type::of(object).attr("__name__")))));
    Array<T> array = py::reinterpret_borrow<Array<T>>(object);
    if (array.ndim() != ndim)
        throw py::value_error(std::string(name) + ": expected " + std::to_string(ndim) +
                              " dimensions, got shape " + shape_of(array));
    return array;
}

}  // namespace drq
