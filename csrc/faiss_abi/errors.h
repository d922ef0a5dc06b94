// Exceptions that leave through FAISS.
#pragma once

#include <string>

#include "faiss_abi/vtable.h"

namespace drq::plugin {

/// Finds the class of FAISS's exceptions.
void open_errors(const Library& library);

/// Throws a faiss::FaissException, if the library has its parts, else a std::runtime_error. FAISS's Python
/// wrapper lets a Python exception that is set already through only with FAISS's own class.
[[noreturn]] void throw_faiss_exception(const std::string& what);

}  // namespace drq::plugin
