// What the plug-in knows about one IndexIVFResidualQuantizer.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "core/executor.h"
#include "core/search/lists/database.h"
#include "index/state.h"

namespace drq {

/// Cached norms of one list for one code length, see drq::list_norms.
struct CachedListNorms {
    std::vector<float> values;
    float lowest = 0;       ///< of all values
    uint64_t sample = 0;    ///< of the codes they were computed from
    Fingerprint codes;      ///< the same of all of them, to be checked a part at a time
    uint64_t centroid = 0;  ///< hash of the list's centroid then
};

/// The centroids of some lists, read again for every call: they may have been changed. Empty unless vectors
/// are residuals under L2.
struct Centroids {
    std::vector<float> values;     ///< (lists, d)
    std::vector<uint64_t> hashes;  ///< (lists) of the values as they were read

    Centroids() = default;
    Centroids(const IvfView& view, const std::vector<size_t>& numbers);
};

/// What a search of some lists needs; shared, so that it stays valid while another thread forgets the index's
/// own.
struct PreparedLists {
    std::shared_ptr<const Quantizer> quantizer;
    std::shared_ptr<const std::vector<float>>
        centre;                                    ///< (d) amid the centroids; null where they are not needed
    std::shared_ptr<const Renumbered> renumbered;  ///< null where it is not needed, or not made yet
    Centroids centroids;                           ///< of the lists, in the quantizer's unit
    std::vector<std::shared_ptr<const CachedListNorms>> norms;  ///< (lists); empty for inner product

    /// The origin of drq::ListDatabase.
    const float* origin() const { return centre ? centre->data() : quantizer->shift.data(); }

    /// List number i of those prepared, whose codes these are; null: nobody has read them.
    InvertedList list(size_t i, const ListCodes* codes) const;
};

class IvfState final : public IndexState {
  public:
    /// Norms are brought up to date for the lists `numbers`, whose codes are `lists`; without any `lists`
    /// only the centroids are read.
    PreparedLists prepare(const IvfView& view, size_t levels, const std::vector<size_t>& numbers,
                          const std::vector<ListCodes>& lists, const Executor& executor);

    std::map<size_t, NormCount> cached_norms() const override;
    std::shared_ptr<IndexState> anew() const override { return std::make_shared<IvfState>(); }

  protected:
    void drop_codes_caches() override { drop_norms(); }
    void drop_caches() override;

  private:
    using SharedNorms = std::shared_ptr<CachedListNorms>;

    /// What norms depend on besides codes, codebooks and centroids.
    struct Mark {
        const void* lists = nullptr;
        size_t nlist = 0;
        bool by_residual = true;
        int metric_type = 0;
        bool operator==(const Mark& other) const;
    };
    static Mark mark(const IvfView& view);
    void drop_norms();
    void renumber(const std::vector<ListCodes>& lists);
    void choose_centre(const IvfView& view);
    void update_norms(PreparedLists& prepared, const IvfView& view, size_t levels,
                      const std::vector<size_t>& numbers, const std::vector<ListCodes>& lists,
                      const Executor& executor);
    bool codes_changed(const std::vector<SharedNorms>& cached, const std::vector<size_t>& numbers,
                       const std::vector<ListCodes>& lists, size_t code_size);
    static bool are_right(const CachedListNorms& norms, uint64_t centroid, const ListCodes& list,
                          size_t code_size);
    static void extend(CachedListNorms& norms, const PreparedLists& prepared, const IvfView& view,
                       size_t levels, size_t i, const ListCodes& list);

    std::shared_ptr<const std::vector<float>> centre_;  ///< see PreparedLists
    std::map<size_t, std::vector<SharedNorms>> norms_;  ///< by code length, by list
    std::shared_ptr<const Renumbered> renumbered_;
    size_t compared_ = 0;  ///< codes, before there was one
    size_t turn_ = 0;      ///< whose codes are looked at next
    Mark mark_;
};

}  // namespace drq
