#include "faiss_plugin/openmp.h"

#include <dlfcn.h>
#include <elf.h>
#include <link.h>

#include <cstring>

namespace drq::plugin {

namespace {

class OpenMP : public Executor {
  public:
    void (*parallel)(void (*)(void*), void*, unsigned threads, unsigned flags) = nullptr;
    int (*max_threads)() = nullptr;
    int (*in_parallel)() = nullptr;
    std::string library = "none (serial)";

    /// One in a thread of a team: FAISS has handed out the work already.
    int threads() const override { return parallel && !in_parallel() ? max_threads() : 1; }

    void run(void (*body)(void*), void* context) const override {
        constexpr unsigned kDefaultThreads = 0, kNoFlags = 0;
        if (parallel)
            parallel(body, context, kDefaultThreads, kNoFlags);
        else
            body(context);
    }
};

OpenMP& openmp() {
    static OpenMP& instance = *new OpenMP;  // outlives every static destructor
    return instance;
}

/// What a loaded library has bound an imported function to: the content of its entry in the offset table.
void* bound_import(const Library& library, const char* name) {
    link_map* map = nullptr;
    if (dlinfo(library.handle(), RTLD_DI_LINKMAP, &map)) return nullptr;
    const ElfW(Sym)* symbols = nullptr;
    const char* names = nullptr;
    struct Relocations {
        const ElfW(Rela) * entries = nullptr;
        size_t bytes = 0;
    } calls, data;
    for (const ElfW(Dyn)* entry = map->l_ld; entry->d_tag != DT_NULL; entry++) {
        const auto pointer = entry->d_un.d_ptr;
        if (entry->d_tag == DT_SYMTAB) symbols = reinterpret_cast<const ElfW(Sym)*>(pointer);
        if (entry->d_tag == DT_STRTAB) names = reinterpret_cast<const char*>(pointer);
        if (entry->d_tag == DT_JMPREL) calls.entries = reinterpret_cast<const ElfW(Rela)*>(pointer);
        if (entry->d_tag == DT_PLTRELSZ) calls.bytes = entry->d_un.d_val;
        if (entry->d_tag == DT_RELA) data.entries = reinterpret_cast<const ElfW(Rela)*>(pointer);
        if (entry->d_tag == DT_RELASZ) data.bytes = entry->d_un.d_val;
    }
    if (!symbols || !names) return nullptr;
    for (const Relocations& table : {calls, data}) {
        if (!table.entries) continue;
        for (size_t i = 0; i < table.bytes / sizeof(ElfW(Rela)); i++) {
            const ElfW(Rela) & relocation = table.entries[i];
            const size_t symbol = ELF64_R_SYM(relocation.r_info);
            if (symbol && !std::strcmp(names + symbols[symbol].st_name, name))
                return *reinterpret_cast<void**>(map->l_addr + relocation.r_offset);
        }
    }
    return nullptr;
}

std::string library_of(const void* address) {
    Dl_info info{};
    return address && dladdr(address, &info) && info.dli_fname ? info.dli_fname : "";
}

/// As bound_import; a call that libfaiss has not made yet still points into libfaiss and does not count.
void* resolved_import(const Library& library, const char* name) {
    void* address = bound_import(library, name);
    const std::string file = library_of(address);
    return file.empty() || file == library.path() ? nullptr : address;
}

}  // namespace

const Executor& executor() { return openmp(); }

void open_openmp(const Library& library) {
    void* parallel = resolved_import(library, "GOMP_parallel");
    void* max_threads = resolved_import(library, "omp_get_max_threads");
    void* in_parallel = nullptr;
    if (parallel)
        if (void* runtime = dlopen(library_of(parallel).c_str(), RTLD_LAZY | RTLD_NOLOAD))
            in_parallel = dlsym(runtime, "omp_in_parallel");
    if (!parallel || !max_threads || !in_parallel) return;
    OpenMP& runtime = openmp();
    runtime.library = library_of(parallel);
    runtime.max_threads = reinterpret_cast<int (*)()>(max_threads);
    runtime.in_parallel = reinterpret_cast<int (*)()>(in_parallel);
    runtime.parallel = reinterpret_cast<void (*)(void (*)(void*), void*, unsigned, unsigned)>(parallel);
}

const std::string& openmp_library() { return openmp().library; }

}  // namespace drq::plugin
