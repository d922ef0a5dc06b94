#include "faiss_plugin/parameters.h"

#include <mutex>
#include <unordered_map>

#include "index/fork_mutex.h"

namespace drq::plugin {

namespace {

struct Registry {
    ForkMutex mutex;
    std::unordered_map<const void*, Depth> depths;
};

Registry& registry() {
    static Registry& instance = *new Registry;  // parameters may be freed after static destructors ran
    return instance;
}

}  // namespace

ForkMutex& parameters_mutex() { return registry().mutex; }

void set_parameter_depth(const void* parameters, const Depth& depth) {
    std::unique_lock lock(registry().mutex);
    registry().depths[parameters] = depth;
}

void drop_parameter_depth(const void* parameters) {
    std::unique_lock lock(registry().mutex);
    registry().depths.erase(parameters);
}

Depth parameter_depth(const void* parameters) {
    if (!parameters) return {};
    std::shared_lock lock(registry().mutex);
    const auto found = registry().depths.find(parameters);
    return found == registry().depths.end() ? Depth() : found->second;
}

}  // namespace drq::plugin
