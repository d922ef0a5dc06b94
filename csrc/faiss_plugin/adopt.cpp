#include "faiss_plugin/adopt.h"

#include <dlfcn.h>

#include <stdexcept>
#include <utility>

#include "faiss_abi/errors.h"
#include "faiss_abi/openmp.h"
#include "faiss_plugin/common.h"
#include "faiss_plugin/flat_class.h"
#include "faiss_plugin/fork.h"
#include "faiss_plugin/ivf_class.h"

namespace drq::plugin {

namespace {

const Library* opened = nullptr;  // never freed: indexes may be destroyed after static destructors ran

}  // namespace

void open_plugin(const void* index) {
    if (opened) return;
    const auto* library = new Library(index, "_ZTVN5faiss22IndexResidualQuantizerE");
    open_errors(*library);
    open_additive(*library);
    open_flat_class(*library);
    open_threads(index);
    opened = library;
}

void open_threads(const void* object) {
    static bool done = false;
    if (std::exchange(done, true)) return;
    const Library library(object);
    open_openmp(library);
    watch_forks(&library);
}

void open_ivf(bool with_scanner) { open_ivf_class(library(), with_scanner); }

/// What the program and preloaded libraries (jemalloc, sanitizers) have serves every library; of the rest,
/// libraries find what they were linked with.
bool shares_allocator(const Library& library) {
    void* const program = dlopen(nullptr, RTLD_LAZY);
    for (const char* name : {"malloc", "free", "_Znwm", "_ZdlPv", "_ZdlPvm"})
        if (!dlsym(program, name) && dlsym(library.handle(), name) != dlsym(RTLD_DEFAULT, name)) return false;
    return true;
}

bool is_open() { return opened; }

const Library& library() {
    if (!opened) throw std::logic_error("libfaiss is not open, expected open() first");
    return *opened;
}

std::map<std::string, size_t> slots() {
    library();
    std::map<std::string, size_t> all = flat_slots();
    for (const auto& [name, slot] : additive_slots()) all[name] = slot;
    for (const auto& [name, slot] : ivf_slots()) all["ivf." + name] = slot;
    return all;
}

bool is_adopted(const void* index) {
    return opened && (flat_class().is_ours(index) || (has_ivf_class() && ivf_class().is_ours(index)));
}

std::string why_not(const void* index) {
    library();
    if (flat_class().is_instance(index)) return why_not_flat(index);
    if (has_ivf_class() && ivf_class().is_instance(index)) return why_not_ivf(index);
    return "its class is not exactly faiss::IndexResidualQuantizer or IndexIVFResidualQuantizer";
}

void adopt(void* index) {
    if (is_adopted(index)) {
        state_of(index)->forget();
        return;
    }
    if (const std::string reason = why_not(index); !reason.empty())
        throw std::invalid_argument("cannot adopt this index: " + reason);
    if (flat_class().is_instance(index))
        adopt_flat(index);
    else
        adopt_ivf(index);
}

}  // namespace drq::plugin
