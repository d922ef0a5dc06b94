// Virtual tables of libfaiss's classes, found, searched and copied by symbol name.
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace drq::plugin {

/// The dynamic symbol that covers an address: the file it is in, its name, start and size. A name may be
/// missing, or both.
struct Symbol {
    std::string library, name;
    const void* start = nullptr;
    size_t size = 0;
};

Symbol symbol_at(const void* address);

/// libfaiss as it is loaded in this process.
class Library {
  public:
    /// The library that the class of a C++ object comes from. `vtable_symbol` is what it must be.
    Library(const void* object, const char* vtable_symbol);

    /// The library that the class of a C++ object comes from, whatever class. Throws std::runtime_error if
    /// there is none.
    explicit Library(const void* object);

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

    /// The same in the library's own table, for all objects of the class. Throws std::runtime_error if the
    /// system does not let us write there.
    void replace_in_library(size_t slot, const void* function) const;

    size_t slots() const { return words_.size() - kHeader; }

    /// The exported symbol of each slot, empty for a function that is not exported and for what is no
    /// function (the header of a second table).
    std::vector<std::string> functions() const;

    /// What an object of the class holds as its vtable pointer: the library's table, and this copy.
    const void* stock_pointer() const { return stock_ + kHeader; }
    const void* pointer() const { return words_.data() + kHeader; }

    /// A class with two bases that have virtual functions has a second table behind the first, for the part
    /// of an object that is the second base. Throws std::runtime_error unless there is exactly one.
    struct Second {
        size_t offset;  ///< bytes into the object, where its pointer is
        size_t slot;    ///< of its first function
    };
    Second second() const;
    const void* pointer(const Second& second) const { return pointer_to(second.slot); }

  private:
    const void* pointer_to(size_t slot) const { return words_.data() + kHeader + slot; }
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

    /// Replaces the function of a base class's table as well, which is called with a pointer to that base.
    template <class Function>
    void replace_second(const std::string& symbol, Function ours) {
        if (!second_) second_ = vtable_.second();
        vtable_.replace(vtable_.slot(symbol.c_str()), reinterpret_cast<const void*>(ours));
    }

    /// Bytes from an object to its second vtable pointer.
    size_t second_offset() const { return vtable_.second().offset; }

    void take(void* object) const {
        *static_cast<const void**>(object) = vtable_.pointer();
        if (!second_) return;
        *reinterpret_cast<const void**>(static_cast<char*>(object) + second_->offset) =
            vtable_.pointer(*second_);
    }

  private:
    static const void* vtable_of(const void* object) { return *static_cast<const void* const*>(object); }

    Vtable vtable_;
    std::map<std::string, size_t> replaced_;
    std::optional<Vtable::Second> second_;  ///< if functions of it are replaced
};

}  // namespace drq::plugin
