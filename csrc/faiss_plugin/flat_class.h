// IndexDRQ: faiss::IndexResidualQuantizer with our search, encoder and trainer in its virtual table.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "faiss_abi/vtable.h"
#include "index/stored_tail.h"

namespace drq::plugin {

/// Builds the class from the installed libfaiss. Throws std::runtime_error naming what is not as expected.
void open_flat_class(const Library& library);

const OverriddenClass& flat_class();

/// Bytes that we set aside for a faiss::IDSelectorRange.
extern const size_t kSelectorRoom;

/// Where the replaced functions were found.
std::map<std::string, size_t> flat_slots();

/// Why this IndexResidualQuantizer cannot be adopted; empty if it can.
std::string why_not_flat(const void* index);

/// FlatState::pack for an adopted index; returns the bytes that takes.
size_t pack_flat(const void* index, size_t levels);
void unpack_flat(const void* index);
size_t packed_levels_flat(const void* index);

/// FlatState::set_tail and tail for an adopted index.
void set_tail_flat(const void* index, const StoredTail& tail);
std::shared_ptr<const StoredTail> tail_of_flat(const void* index);

/// Gives an index of the stock class our functions.
void adopt_flat(void* index);

}  // namespace drq::plugin
