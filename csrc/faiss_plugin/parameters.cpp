#include "faiss_plugin/parameters.h"

#include <mutex>
#include <shared_mutex>
#include <unordered_map>

namespace drq::plugin {

namespace {

struct Registry {
    std::shared_mutex mutex;
    std::unordered_map<const void*, size_t> levels;
};

Registry& registry() {
    static Registry& instance = *new Registry;  // parameters may be freed after static destructors ran
    return instance;
}

}  // namespace

void set_parameter_levels(const void* parameters, size_t levels) {
    std::unique_lock lock(registry().mutex);
    registry().levels[parameters] = levels;
}

void drop_parameter_levels(const void* parameters) {
    std::unique_lock lock(registry().mutex);
    registry().levels.erase(parameters);
}

size_t parameter_levels(const void* parameters) {
    std::shared_lock lock(registry().mutex);
    const auto found = registry().levels.find(parameters);
    return found == registry().levels.end() ? 0 : found->second;
}

}  // namespace drq::plugin
