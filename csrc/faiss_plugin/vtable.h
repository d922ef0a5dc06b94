// Virtual tables of libfaiss's classes, found, searched and copied by symbol name.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace drq::plugin {

/// libfaiss as it is loaded in this process.
class Library {
  public:
    Library() = default;

    /// The library that the class of a C++ object comes from. `vtable_symbol` is what it must be.
    Library(const void* object, const char* vtable_symbol);

    /// The address of an exported symbol. Throws std::runtime_error naming it if there is none.
    void* symbol(const char* name) const;

    void* handle() const { return handle_; }
    const std::string& path() const { return path_; }

  private:
    void* handle_ = nullptr;
    std::string path_;
};

/// The virtual table of one class; a copy, so that slots may be replaced without touching the library's.
class Vtable {
  public:
    Vtable(const Library& library, const char* symbol);

    /// The number of the virtual function with this mangled name. Throws unless exactly one slot holds it.
    size_t slot(const char* function) const;

    /// The function that the library itself has in a slot.
    const void* stock(size_t slot) const { return stock_[kHeader + slot]; }

    void replace(size_t slot, const void* function) { words_[kHeader + slot] = function; }

    /// What an object of the class holds as its vtable pointer: the library's table, and this copy.
    const void* stock_pointer() const { return stock_ + kHeader; }
    const void* pointer() const { return words_.data() + kHeader; }

  private:
    static constexpr size_t kHeader = 2;  // offset-to-top and type_info precede the functions

    const Library& library_;
    const char* symbol_;
    const void* const* stock_;
    std::vector<const void*> words_;
};

}  // namespace drq::plugin
