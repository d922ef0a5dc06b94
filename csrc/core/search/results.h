// Turns what sinks have collected into what searches return.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "core/database.h"
#include "core/scan/collectors.h"

namespace drq {

/// Keys are distances or negated products: this turns one into the other.
inline float key_sign(Metric metric) { return metric == Metric::L2 ? 1.f : -1.f; }

/// A query's k nearest to distances and ids (k), nearest first; id −1 and the worst float where there is
/// none.
inline void write_nearest(TopK& best, size_t k, Metric metric, float* distances, int64_t* ids) {
    const std::vector<Keyed>& results = best.sorted();
    for (size_t j = 0; j < k; j++) {
        const bool found = j < results.size();
        distances[j] = key_sign(metric) * (found ? results[j].first : std::numeric_limits<float>::max());
        ids[j] = found ? results[j].second : -1;
    }
}

/// A query's results of a range search, which `count` sinks have collected, ids ascending.
inline std::vector<Neighbour> by_id(const Within* sinks, size_t count, Metric metric) {
    std::vector<Neighbour> neighbours;
    for (size_t i = 0; i < count; i++)
        for (const auto& [key, id] : sinks[i].found) neighbours.push_back({key_sign(metric) * key, id});
    std::sort(neighbours.begin(), neighbours.end(),
              [](const Neighbour& a, const Neighbour& b) { return a.id < b.id; });
    return neighbours;
}

}  // namespace drq
