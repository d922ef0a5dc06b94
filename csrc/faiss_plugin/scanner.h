// faiss::InvertedListScanner for our codes: what FAISS searches lists with where it does so itself.
#pragma once

#include <cstddef>

#include "faiss_abi/vtable.h"

namespace drq::plugin {

/// Finds the virtual functions of scanners. Throws std::runtime_error naming what is not as expected.
void open_scanner(const Library& library);

/// Bytes that our scanners set aside for FAISS's base class.
extern const size_t kScannerRoom;

/// A new scanner of an adopted index, which FAISS deletes.
void* new_scanner(const void* index, bool store_pairs, const void* selector, const void* parameters);

}  // namespace drq::plugin
