#include "faiss_plugin/parameters.h"

#include <mutex>
#include <unordered_map>

#include "index/fork_mutex.h"

namespace drq::plugin {

namespace {

struct Named {
    Depth depth;
    bool nprobe_of_index = false;
};

struct Registry {
    ForkMutex mutex;
    std::unordered_map<const void*, Named> named;
};

Registry& registry() {
    static Registry& instance = *new Registry;  // parameters may be freed after static destructors ran
    return instance;
}

Named named_by(const void* parameters) {
    if (!parameters) return {};
    std::shared_lock lock(registry().mutex);
    const auto found = registry().named.find(parameters);
    return found == registry().named.end() ? Named() : found->second;
}

}  // namespace

ForkMutex& parameters_mutex() { return registry().mutex; }

void set_parameter_depth(const void* parameters, const Depth& depth) {
    std::unique_lock lock(registry().mutex);
    registry().named[parameters].depth = depth;
}

Depth parameter_depth(const void* parameters) { return named_by(parameters).depth; }

void leave_nprobe(const void* parameters, bool to_index) {
    std::unique_lock lock(registry().mutex);
    registry().named[parameters].nprobe_of_index = to_index;
}

bool leave_nprobe_to_index(const void* parameters) { return named_by(parameters).nprobe_of_index; }

void copy_parameters(const void* parameters, const void* copy) {
    const Named named = named_by(parameters);
    std::unique_lock lock(registry().mutex);
    registry().named[copy] = named;
}

void drop_parameters(const void* parameters) {
    std::unique_lock lock(registry().mutex);
    registry().named.erase(parameters);
}

}  // namespace drq::plugin
