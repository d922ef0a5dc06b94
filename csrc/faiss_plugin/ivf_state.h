// What the plug-in knows about one IndexIVFResidualQuantizer.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "core/executor.h"
#include "core/list_search.h"
#include "faiss_plugin/lists.h"
#include "faiss_plugin/state.h"

namespace drq::plugin {

/// Cached norms of one list for one code length, see drq::list_norms.
struct CachedListNorms {
    std::vector<float> values;
    float lowest = 0;     ///< of all values
    uint64_t sample = 0;  ///< of the codes they were computed from
};

/// What the centroids are, as far as searches need them all: empty unless vectors are residuals under L2.
struct Centroids {
    std::vector<float> mean;           ///< (d), the origin of the search
    std::vector<float> shift_product;  ///< (nlist), see drq::InvertedList
};

/// What a search needs; shared, so that it stays valid while another thread forgets the index's own.
struct PreparedLists {
    std::shared_ptr<const Quantizer> quantizer;
    std::shared_ptr<const Centroids> centroids;
    std::shared_ptr<const std::vector<CachedListNorms>> norms;  ///< by list; null for inner product

    /// The origin of drq::ListDatabase.
    const float* origin() const {
        return centroids->mean.empty() ? quantizer->shift.data() : centroids->mean.data();
    }

    InvertedList list(size_t number, const ReadList& codes) const;

    /// A list whose codes nobody has read: only what depends on the centroid.
    InvertedList unread_list(size_t number) const;
};

class IvfState final : public IndexState {
  public:
    /// Norms are brought up to date for the lists `numbers`, whose codes are `lists`.
    PreparedLists prepare(const IvfView& view, size_t levels, const std::vector<size_t>& numbers,
                          const std::vector<ReadList>& lists, const Executor& executor);

    void forget_codes() override;
    std::map<size_t, NormCount> cached_norms() const override;
    std::shared_ptr<IndexState> anew() const override { return std::make_shared<IvfState>(); }

  protected:
    void drop_caches() override;

  private:
    /// What the caches about centroids and norms depend on besides codes and codebooks.
    struct Mark {
        const void *coarse_quantizer = nullptr, *lists = nullptr;
        size_t centroids = 0, nlist = 0;
        bool by_residual = true;
        int metric_type = 0;
        bool operator==(const Mark& other) const;
    };
    static Mark mark(const IvfView& view);
    void read_centroids(const IvfView& view);
    void extend(CachedListNorms& norms, const IvfView& view, size_t levels, size_t number,
                const ReadList& list) const;

    std::shared_ptr<const Centroids> centroids_;
    std::map<size_t, std::shared_ptr<std::vector<CachedListNorms>>> norms_;  ///< by code length
    Mark mark_;
};

}  // namespace drq::plugin
