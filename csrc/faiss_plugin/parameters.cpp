#include "faiss_plugin/parameters.h"

#include <mutex>
#include <unordered_map>

#include "index/fork_mutex.h"

namespace drq::plugin {

namespace {

struct Registry {
    ForkMutex mutex;
    std::unordered_map<const void*, size_t> levels;
};

Registry& registry() {
    static Registry& instance = *new Registry;  // parameters may be freed after static destructors ran
    return instance;
}

}  // namespace

ForkMutex& parameters_mutex() { return registry().mutex; }

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
