// Deep Recurrent Quantization for C++ programs that are compiled with FAISS's headers.
#pragma once

#include <faiss/IndexAdditiveQuantizer.h>

#include <cstddef>
#include <cstdint>
#include <memory>

namespace drq {
class FlatState;
}

namespace drqfaiss {

/// Search parameters with a code length.
///
/// With a refine_factor, of the k · refine_factor nearest by `levels` the k nearest by `refine_levels` are
/// returned. Range searches compare `levels` alone.
struct SearchParametersDRQ : faiss::SearchParameters {
    size_t levels = 0;         ///< compare only so many levels of every code; 0: the index's default
    size_t refine_levels = 0;  ///< rank by so many; 0: the index's default
    size_t refine_factor = 0;  ///< rank so many times k vectors; 0: the index's default
};

/// A residual quantizer index whose code length is chosen at each search.
///
/// Searches return exact distances of the query to the reconstruction from the chosen levels, squared L2 or
/// inner product, nearest first, ties by id. Any trained quantizer is searched fast, best those with one
/// codebook and a scale per level: the Python package trains them and the file brings them here. train() is
/// FAISS's own. Files are stock FAISS files; faiss::clone_index returns a stock index, which the constructor
/// below takes. Searches may run at the same time; changes need the index for themselves, as in FAISS.
struct IndexDRQ : faiss::IndexResidualQuantizer {
    // What searches do that name no numbers.
    size_t levels = 0;         ///< 0: all
    size_t refine_levels = 0;  ///< 0: all
    size_t refine_factor = 0;  ///< 0: no second stage

    /// An untrained index of M levels of nbits bits.
    IndexDRQ(int d, size_t M, size_t nbits, faiss::MetricType metric = faiss::METRIC_L2);

    /// The same index with our search. Throws faiss::FaissException for a metric or code shape that cannot be
    /// searched.
    explicit IndexDRQ(const faiss::IndexResidualQuantizer& stock);

    IndexDRQ(const IndexDRQ& other);
    IndexDRQ& operator=(const IndexDRQ&) = delete;
    ~IndexDRQ() override;

    void train(int64_t n, const float* x) override;
    void add(int64_t n, const float* x) override;
    size_t remove_ids(const faiss::IDSelector& selector) override;
    void reset() override;

    /// Reorders the vectors: the one at i becomes the one that was at perm[i], a permutation of the ids.
    /// FAISS's own is not virtual: called through a pointer to the base class it needs forget() afterwards.
    void permute_entries(const int64_t* perm);

    /// Drops what searches keep about codes and codebooks. Needed after either was written to directly.
    void forget();

    /// Also requires equal codebooks: vectors would come out of other ones.
    void check_compatible_for_merge(const faiss::Index& other) const override;

    /// `parameters`: null, faiss::SearchParameters or SearchParametersDRQ. Throws faiss::FaissException for
    /// more levels than the index has, fewer to rank by than are scanned, or an index that is not trained.
    void search(int64_t n, const float* x, int64_t k, float* distances, int64_t* ids,
                const faiss::SearchParameters* parameters = nullptr) const override;
    void range_search(int64_t n, const float* x, float radius, faiss::RangeSearchResult* result,
                      const faiss::SearchParameters* parameters = nullptr) const override;

    /// Beam search, rq.max_beam_size partial codes wide. Vectors that are not finite are refused.
    void sa_encode(int64_t n, const float* x, uint8_t* codes) const override;

  private:
    std::unique_ptr<drq::FlatState> state_;  ///< what searches and encoding keep between calls
};

/// Reads a FAISS file that holds a residual quantizer index, whoever wrote it. Throws faiss::FaissException
/// if the file cannot be read or holds another index.
std::unique_ptr<IndexDRQ> read_index(const char* path);

}  // namespace drqfaiss
