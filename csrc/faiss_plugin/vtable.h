// Virtual tables of libfaiss's classes, found, searched and copied by symbol name.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <vector>

namespace drq::plugin {

/// libfaiss as it is loaded in this process.
class Library {
  public:
    /// The library that the class of a C++ object comes from. `vtable_symbol` is what it must be.
    Library(const void* object, const char* vtable_symbol);

    /// The address of an exported symbol. Throws std::runtime_error naming it if there is none.
    void* symbol(const char* name) const;

    /// The same as a pointer to a function.
    template <class Function>
    void find(const char* name, Function& function) const {
        function = reinterpret_cast<Function>(symbol(name));
    }

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

    size_t slots() const { return words_.size() - kHeader; }

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

/// The virtual table of a class with functions of ours in it.
class OverriddenClass {
  public:
    OverriddenClass(const Library& library, const char* symbol) : vtable_(library, symbol) {}

    /// Puts `ours` into a slot and returns the function that was there.
    template <class Function>
    Function replace(const char* name, size_t slot, Function ours) {
        vtable_.replace(slot, reinterpret_cast<const void*>(ours));
        replaced_[name] = slot;
        return reinterpret_cast<Function>(const_cast<void*>(vtable_.stock(slot)));
    }

    /// The same for the only slot that holds the function with this mangled name.
    template <class Function>
    Function replace(const char* name, const char* symbol, Function ours) {
        return replace(name, vtable_.slot(symbol), ours);
    }

    const Vtable& vtable() const { return vtable_; }
    const std::map<std::string, size_t>& replaced() const { return replaced_; }

    /// Whether an object is of exactly this class, with our functions or the library's own.
    bool is_ours(const void* object) const { return vtable_of(object) == vtable_.pointer(); }
    bool is_instance(const void* object) const {
        return is_ours(object) || vtable_of(object) == vtable_.stock_pointer();
    }

    void take(void* object) const { *static_cast<const void**>(object) = vtable_.pointer(); }

  private:
    static const void* vtable_of(const void* object) { return *static_cast<const void* const*>(object); }

    Vtable vtable_;
    std::map<std::string, size_t> replaced_;
};

}  // namespace drq::plugin
