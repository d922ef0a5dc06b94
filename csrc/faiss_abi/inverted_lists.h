// faiss::InvertedLists, read through its virtual functions: in memory, on disk, stacked, anything.
#pragma once

#include <cstdint>
#include <string>

#include "faiss_abi/vtable.h"
#include "index/view.h"

namespace drq::plugin {

/// Finds the virtual functions.
void open_lists(const Library& library);

/// One list while it is being read; FAISS may have to free what it returned.
class ReadList : public ListCodes {
  public:
    ReadList(const void* lists, size_t number);
    ~ReadList();
    ReadList(ReadList&& other) noexcept;
    ReadList(const ReadList&) = delete;
    ReadList& operator=(const ReadList&) = delete;

  private:
    const void* lists_;
    size_t number_;
};

/// Vectors in a list.
size_t list_size(const void* lists, size_t number);

/// Whether codes come from an iterator only.
bool uses_iterator(const void* lists);

/// Why lists cannot be changed; empty if they can. Of lists in an array the first that is not empty tells:
/// all are read into memory, or none is.
std::string why_unchangeable(const void* lists, size_t nlist);

/// The centroid of a list, to out (d).
void reconstruct_centroid(const void* coarse_quantizer, size_t number, float* out);

}  // namespace drq::plugin
