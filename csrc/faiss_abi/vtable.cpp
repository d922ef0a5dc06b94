#include "faiss_abi/vtable.h"

#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <stdexcept>

namespace drq::plugin {

namespace {

/// Whether a page is of a part of a library that the loader writes and then protects. It leaves out a last
/// page that the part has not for itself.
bool is_read_only_after_loading(const void* page, size_t page_bytes) {
    struct Search {
        uintptr_t page;
        size_t page_bytes;
        bool found;
    } search{reinterpret_cast<uintptr_t>(page), page_bytes, false};
    const auto look = [](dl_phdr_info* library, size_t, void* data) {
        auto& wanted = *static_cast<Search*>(data);
        for (size_t i = 0; i < library->dlpi_phnum; i++) {
            const ElfW(Phdr) & part = library->dlpi_phdr[i];
            const uintptr_t begin = library->dlpi_addr + part.p_vaddr, bytes = wanted.page_bytes;
            if (part.p_type == PT_GNU_RELRO && wanted.page >= begin / bytes * bytes &&
                wanted.page + bytes <= begin + part.p_memsz)
                wanted.found = true;
        }
        return int(wanted.found);
    };
    dl_iterate_phdr(look, &search);
    return search.found;
}

}  // namespace

Symbol symbol_at(const void* address) {
    Dl_info info{};
    ElfW(Sym)* entry = nullptr;
    if (!dladdr1(address, &info, reinterpret_cast<void**>(&entry), RTLD_DL_SYMENT)) return {};
    if (!entry || !info.dli_sname) return {info.dli_fname, "", nullptr, 0};
    return {info.dli_fname, info.dli_sname, info.dli_saddr, entry->st_size};
}

Library::Library(const void* object) {
    path_ = symbol_at(*static_cast<const void* const*>(object)).library;
    handle_ = path_.empty() ? nullptr : dlopen(path_.c_str(), RTLD_NOW | RTLD_NOLOAD);
    if (!handle_) throw std::runtime_error("cannot open '" + path_ + "' again");
}

Library::Library(const void* object, const char* vtable_symbol) : Library(object) {
    const Symbol vtable = symbol_at(*static_cast<const void* const*>(object));
    if (vtable.name != vtable_symbol)
        throw std::runtime_error("the object's virtual table is " +
                                 (vtable.name.empty() ? "no exported symbol" : vtable.name) + ", expected " +
                                 vtable_symbol);
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

void Vtable::replace_in_library(size_t slot, const void* function) const {
    const void** word = const_cast<const void**>(stock_ + kHeader + slot);
    // The loader has made tables read-only, as it does with all that only it writes.
    const size_t page_bytes = size_t(sysconf(_SC_PAGESIZE));
    void* page = reinterpret_cast<void*>(reinterpret_cast<uintptr_t>(word) / page_bytes * page_bytes);
    if (mprotect(page, page_bytes, PROT_READ | PROT_WRITE))
        throw std::runtime_error(std::string(symbol_) + " cannot be made writable: " + std::strerror(errno));
    __atomic_store_n(word, function, __ATOMIC_RELEASE);  // other threads may be calling it
    if (is_read_only_after_loading(page, page_bytes)) mprotect(page, page_bytes, PROT_READ);
}

std::vector<std::string> Vtable::functions() const {
    std::vector<std::string> names;
    for (size_t i = kHeader; i < words_.size(); i++) {
        const Symbol symbol = symbol_at(stock_[i]);
        names.push_back(symbol.start == stock_[i] ? symbol.name : "");
    }
    return names;
}

Vtable::Second Vtable::second() const {
    std::vector<Second> found;
    for (size_t i = kHeader; i + kHeader < words_.size(); i++)  // the type_info is the same in both tables
        if (stock_[i + 1] == stock_[1]) found.push_back({0 - reinterpret_cast<size_t>(stock_[i]), i});
    constexpr size_t kMostBytes = 1 << 12;  // of the first base class; more is no offset
    if (found.size() != 1 || found[0].offset == 0 || found[0].offset > kMostBytes ||
        found[0].offset % sizeof(void*))
        throw std::runtime_error(std::string(symbol_) + " has " + std::to_string(found.size()) +
                                 " tables of further base classes, expected one");
    return found[0];
}

}  // namespace drq::plugin
