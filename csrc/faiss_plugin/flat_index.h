// IndexDRQ: faiss::IndexResidualQuantizer with our search, encoder and trainer in its virtual table.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "faiss_plugin/vtable.h"

namespace drq::plugin {

/// Builds the class from the installed libfaiss, given any IndexResidualQuantizer. Throws std::runtime_error
/// naming what is not as expected.
void open_flat_class(const void* index);

const Library& library();

/// Where the replaced functions and those called by position were found.
std::map<std::string, size_t> flat_slots();

/// Gives the index our virtual table; one that has it already only loses what was cached about it. Throws
/// std::invalid_argument for another class or a shape that cannot be searched.
void adopt(void* index);

bool is_adopted(const void* index);

/// Why this IndexResidualQuantizer cannot be adopted; empty if it can.
std::string why_not(const void* index);

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

}  // namespace drq::plugin
