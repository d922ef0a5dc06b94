// What flat and IVF residual quantizer indexes have in common: levels, encoding, training.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "core/database.h"
#include "faiss_abi/layout.h"
#include "faiss_abi/vtable.h"
#include "index/state.h"

namespace drq::plugin {

/// Finds the library's functions that the ones below call.
void open_additive(const Library& library);

/// The slots of virtual functions called by position.
std::map<std::string, size_t> additive_slots();

/// How deep a search looks: as the parameters say, else the state, else at all levels. Throws
/// std::invalid_argument for numbers that are out of range.
Depth checked_depth(const IndexState& state, const QuantizerView& view, const void* parameters);

/// The selector in search parameters, which may be null; its is_member in the core's terms.
const void* selector_of(const void* parameters);
bool is_member(const void* selector, int64_t id);

/// Throws std::invalid_argument naming the first vector that is not finite.
void require_finite(const IndexView& view, int64_t n, const float* x);

/// Takes the codes (count, M) of vectors from `begin` on.
using CodesSink = std::function<void(size_t begin, size_t count, const int32_t* codes)>;

/// Packed codes of n vectors, `code_size` bytes each, by the beam search of the core. Those of the view's
/// last levels that the index's quantizer lacks go to `also` alone, which gets them all.
void encode(IndexState& state, const IndexView& view, const void* rq, size_t code_size, int64_t n,
            const float* x, uint8_t* packed, const CodesSink& also = {});

/// Fills a faiss::RangeSearchResult.
void write_range_result(void* result, const std::vector<std::vector<Neighbour>>& found);

/// Refuses to merge indexes whose codes mean different things: FAISS compares no more than the size of a
/// code.
void require_same_quantizer(const IndexView& ours, const IndexView& theirs);

/// What a training call is about.
struct TrainingJob {
    size_t n, d;
    const float* x;  ///< (n, d)
    std::vector<int> nbits;
    std::string options;  ///< as stored in the index's state
};

/// Trains indexes whose state holds training options: returns codebooks, level after level.
using Trainer = std::function<std::vector<float>(const TrainingJob&)>;
void set_trainer(Trainer trainer);

/// Trains a residual quantizer with the options in the state.
void train_quantizer(const IndexState& state, const IndexView& view, void* rq, int64_t n, const float* x);

}  // namespace drq::plugin
