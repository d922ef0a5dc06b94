// Random quantizers and codes, and everything the core computes from them as bytes to compare: for programs
// that do without Python and FAISS.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <random>
#include <vector>

#include "core/encode/encoder.h"
#include "core/isa/kernels.h"
#include "core/scan/codeword_groups.h"
#include "core/scan/planes.h"
#include "core/search/flat.h"
#include "core/search/lists/norms.h"
#include "core/search/lists/search.h"
#include "core/search/norms.h"

namespace drq::tests {

struct Case {
    size_t n, levels, d;
    int nbits;
    bool shared, duplicates, masked;
    size_t spare_bytes;
};

struct Data {
    Quantizer quantizer;
    std::vector<float> x;
    std::vector<uint8_t> rows;
    Codes codes;
};

constexpr size_t kQueries = 17, kVectors = 40;

inline Data make(const Case& c, std::mt19937& random) {
    std::normal_distribution<float> normal;
    const size_t K = size_t{1} << c.nbits;
    std::vector<float> values(c.levels * K * c.d);
    for (size_t m = 0; m < c.levels; m++)
        for (size_t i = 0; i < K * c.d; i++)
            values[m * K * c.d + i] = c.shared && m ? values[i] * float(1.0 / double(1 + m)) : normal(random);
    Codebooks codebooks{c.d, std::vector<int>(c.levels, c.nbits), {}};
    for (size_t m = 0; m < c.levels; m++) codebooks.level.push_back(values.data() + m * K * c.d);
    Data data{Quantizer::from_codebooks(codebooks), {}, {}, {}};

    data.x.resize(kVectors * c.d);
    for (float& value : data.x) value = 2 * normal(random);
    const size_t code_size = (c.levels * size_t(c.nbits) + 7) / 8 + c.spare_bytes;
    data.rows.resize(c.n * code_size);
    for (uint8_t& byte : data.rows) byte = uint8_t(random());
    if (c.duplicates)
        for (size_t i = 2; i < c.n; i += 2)
            std::memcpy(&data.rows[i * code_size], data.rows.data(), code_size);
    data.codes = {data.rows.data(), c.n, code_size};
    return data;
}

/// Distances and ids of searches in the codes as three lists, of which every query probes two.
inline std::vector<float> list_results(const Case& c, const Data& data, size_t levels, Metric metric,
                                       const Selector* selector, const Executor& executor) {
    constexpr size_t kLists = 3, kProbes = 2, kResults = 12;
    const std::vector<float> origin(c.d, 0.25f), centroid(c.d, 0.5f);
    std::vector<float> norms(c.n);
    std::vector<InvertedList> lists(kLists);
    for (size_t l = 0; l < kLists; l++) {
        const size_t begin = c.n * l / kLists, end = c.n * (l + 1) / kLists;
        const Codes codes{data.codes.row(begin), end - begin, data.codes.code_size};
        list_norms(data.quantizer, codes, levels, centroid.data(), origin.data(), norms.data() + begin);
        lists[l].codes = codes.data;
        lists[l].n = codes.n;
        lists[l].first_id = int64_t(begin);
        lists[l].centroid = centroid.data();
        if (metric == Metric::InnerProduct || codes.n == 0) continue;
        lists[l].norms = norms.data() + begin;
        lists[l].lowest_norm = *std::min_element(norms.data() + begin, norms.data() + end);
    }
    std::vector<int32_t> probed;
    std::vector<float> centroid_distances;
    for (size_t i = 0; i < kQueries * kProbes; i++) {
        probed.push_back(int32_t((i / kProbes + i % kProbes) % kLists));
        centroid_distances.push_back(float(i));
    }
    const ListDatabase database{data.quantizer, data.codes.code_size, levels,  metric,
                                true,           origin.data(),        selector};
    const Probes probes{kProbes, probed.data(), centroid_distances.data()};
    std::vector<float> found;
    for (const size_t factor : {0, 2}) {  // one stage, two stages
        std::vector<float> distances(kQueries * kResults);
        std::vector<int64_t> ids(distances.size());
        ListStats stats;
        two_stage_search_lists(database, {c.levels, factor}, lists.data(), kLists, kQueries, data.x.data(),
                               probes, kResults, distances.data(), ids.data(), stats, executor);
        found.insert(found.end(), distances.begin(), distances.end());
        found.insert(found.end(), ids.begin(), ids.end());
    }
    return found;
}

/// Sets another level as soon as a search is under way, as another thread could.
class SwitchingExecutor final : public Executor {
  public:
    int threads() const override { return 2; }
    void run(void (*body)(void*), void (*)(void*), void* context) const override {
        const isa::Target level = isa::active_target();
        isa::set_target(isa::Target::Scalar);
        body(context);
        isa::set_target(level);
    }
};

/// Planes begun on the level that is active and extended on another.
inline Planes planes_of(const Data& data, const std::shared_ptr<const Renumbered>& renumbered) {
    Codes first = data.codes;
    first.n /= 2;
    const isa::Target level = isa::active_target();
    const Planes begun = Planes(std::make_shared<const Quantizer>(data.quantizer), data.quantizer.levels(),
                                renumbered, isa::active())
                             .extended(first);
    isa::set_target(isa::Target::Scalar);
    Planes planes = begun.extended(data.codes);
    isa::set_target(level);
    return planes;
}

/// What searches and encoding share from call to call.
struct Caches {
    std::shared_ptr<const Renumbered> renumbered;  ///< null where there is none
    Planes planes;
    Encoder encoder;

    explicit Caches(const Data& data)
        : renumbered(can_renumber(data.quantizer) ? std::make_shared<const Renumbered>(data.quantizer)
                                                  : nullptr),
          planes(planes_of(data, renumbered)),
          encoder(std::make_shared<const Quantizer>(data.quantizer)) {}
};

/// Everything the core computes, as bytes to compare; batches are spread over `executor`.
inline std::vector<uint8_t> results(const Case& c, const Data& data, const Caches& caches,
                                    const Executor& executor) {
    std::vector<uint8_t> bytes;
    const auto append = [&](const auto& values) {
        const auto* begin = reinterpret_cast<const uint8_t*>(values.data());
        bytes.insert(bytes.end(), begin, begin + values.size() * sizeof(values[0]));
    };
    const SwitchingExecutor switching;
    const Selector selector{[](const void*, int64_t id) { return id % 3 == 1; }, nullptr};
    for (const size_t levels : {size_t{1}, (c.levels + 1) / 2, c.levels}) {
        std::vector<float> norms(c.n);
        reconstruction_norms(data.quantizer, data.codes, levels, 0, c.n, norms.data(), executor);
        append(norms);
        for (const Metric metric : {Metric::L2, Metric::InnerProduct}) {
            const Norms cached{norms.data(), *std::min_element(norms.begin(), norms.end())};
            const Database database{data.quantizer,
                                    data.codes,
                                    levels,
                                    metric,
                                    metric == Metric::L2 ? cached : Norms{},
                                    c.masked ? &selector : nullptr,
                                    caches.renumbered.get()};
            Database packed = database;
            packed.planes = &caches.planes;
            const float radius = metric == Metric::L2 ? float(c.d * c.levels) : 1.0f;
            for (const auto& found : range_search(database, kQueries, data.x.data(), radius, executor))
                for (const Neighbour& neighbour : found) {
                    append(std::vector<float>{neighbour.distance});
                    append(std::vector<int64_t>{neighbour.id});
                }
            append(list_results(c, data, levels, metric, c.masked ? &selector : nullptr, executor));
            for (const size_t k : {1, 20}) {
                std::vector<float> distances(kQueries * k);
                std::vector<int64_t> ids(kQueries * k);
                knn_search(database, kQueries, data.x.data(), k, distances.data(), ids.data(), executor);
                append(distances);
                append(ids);
                for (const size_t n : {size_t{1}, kQueries}) {
                    knn_search(packed, n, data.x.data(), k, distances.data(), ids.data(), switching);
                    append(distances);
                    append(ids);
                }
            }
        }
    }
    std::vector<int32_t> codes(kVectors * c.levels);
    for (const int beam : {1, 5}) {
        caches.encoder.encode(kVectors, data.x.data(), beam, codes.data(), executor);
        append(codes);
    }
    return bytes;
}

}  // namespace drq::tests
