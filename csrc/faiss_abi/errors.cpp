#include "faiss_abi/errors.h"

#include <cxxabi.h>
#include <dlfcn.h>

#include <stdexcept>
#include <typeinfo>

#include "faiss_abi/layout.h"

namespace drq::plugin {

namespace {

std::type_info* type = nullptr;
void (*construct)(void*, const std::string&) = nullptr;

/// The destructor is not exported, but virtual and declared first, in std::exception.
void destroy(void* exception) { call_virtual<void>(exception, 0); }

}  // namespace

void open_errors(const Library& library) {
    void* found_type = dlsym(library.handle(), "_ZTIN5faiss14FaissExceptionE");
    void* constructor =
        dlsym(library.handle(),
              "_ZN5faiss14FaissExceptionC1ERKNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE");
    if (!found_type || !constructor) return;
    type = static_cast<std::type_info*>(found_type);
    construct = reinterpret_cast<void (*)(void*, const std::string&)>(constructor);
}

void throw_faiss_exception(const std::string& what) {
    if (!type) throw std::runtime_error(what);
    constexpr size_t kRoom = 256;  // bytes: a virtual table and a string, which are 40
    void* exception = abi::__cxa_allocate_exception(kRoom);
    construct(exception, what);
    abi::__cxa_throw(exception, type, destroy);
}

}  // namespace drq::plugin
