#include "faiss_plugin/vtable.h"

#include <dlfcn.h>
#include <elf.h>
#include <link.h>

#include <algorithm>
#include <stdexcept>

namespace drq::plugin {

namespace {

/// The dynamic symbol that covers an address: its name, start and size.
struct Symbol {
    std::string library, name;
    const void* start = nullptr;
    size_t size = 0;
};

Symbol symbol_at(const void* address) {
    Dl_info info{};
    ElfW(Sym)* entry = nullptr;
    if (!dladdr1(address, &info, reinterpret_cast<void**>(&entry), RTLD_DL_SYMENT) || !entry ||
        !info.dli_sname)
        return {};
    return {info.dli_fname, info.dli_sname, info.dli_saddr, entry->st_size};
}

}  // namespace

Library::Library(const void* object, const char* vtable_symbol) {
    const Symbol vtable = symbol_at(*static_cast<const void* const*>(object));
    if (vtable.name != vtable_symbol)
        throw std::runtime_error("the object's virtual table is " +
                                 (vtable.name.empty() ? "no exported symbol" : vtable.name) + ", expected " +
                                 vtable_symbol);
    path_ = vtable.library;
    handle_ = dlopen(path_.c_str(), RTLD_NOW | RTLD_NOLOAD);
    if (!handle_) throw std::runtime_error("cannot open " + path_ + " again: " + dlerror());
}

void* Library::symbol(const char* name) const {
    void* address = dlsym(handle_, name);
    if (!address) throw std::runtime_error(path_ + " does not export " + name);
    return address;
}

Vtable::Vtable(const Library& library, const char* symbol)
    : library_(library), symbol_(symbol), stock_(static_cast<const void* const*>(library.symbol(symbol))) {
    const Symbol table = symbol_at(stock_);
    if (table.name != symbol || table.size % sizeof(void*) || table.size <= kHeader * sizeof(void*))
        throw std::runtime_error(std::string(symbol) + " has no usable size (" + std::to_string(table.size) +
                                 " bytes)");
    words_.assign(stock_, stock_ + table.size / sizeof(void*));
}

size_t Vtable::slot(const char* function) const {
    const void* address = library_.symbol(function);
    const auto begin = stock_ + kHeader, end = stock_ + words_.size();
    const auto found = std::find(begin, end, address);
    if (const auto matches = std::count(begin, end, address); matches != 1)
        throw std::runtime_error(std::string(function) + " is " + std::to_string(matches) + " times in " +
                                 symbol_ + ", expected once");
    return size_t(found - begin);
}

}  // namespace drq::plugin
