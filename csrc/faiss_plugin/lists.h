// faiss::InvertedLists, read through its virtual functions: in memory, on disk, stacked, anything.
#pragma once

#include <cstdint>

#include "faiss_plugin/vtable.h"

namespace drq::plugin {

/// Finds the virtual functions.
void open_lists(const Library& library);

/// One list while it is being read; FAISS may have to free what it returned.
class ReadList {
  public:
    ReadList(const void* lists, size_t number);
    ~ReadList();
    ReadList(ReadList&& other) noexcept;
    ReadList(const ReadList&) = delete;
    ReadList& operator=(const ReadList&) = delete;

    size_t n = 0;
    const uint8_t* codes = nullptr;
    const int64_t* ids = nullptr;

  private:
    const void* lists_;
    size_t number_;
};

/// Whether codes come from an iterator only.
bool uses_iterator(const void* lists);

/// The centroid of a list, to out (d), and the rows of x (n, d) less their lists' centroids.
void reconstruct_centroid(const void* coarse_quantizer, size_t number, float* out);
void compute_residuals(const void* coarse_quantizer, int64_t n, const float* x, float* residuals,
                       const int64_t* numbers);

}  // namespace drq::plugin
