// The searches of IndexIVFDRQ, with the signatures of FAISS's virtual functions.
#pragma once

#include <cstdint>

namespace drq::plugin::ivf {

void search(const void* self, int64_t n, const float* x, int64_t k, float* distances, int64_t* ids,
            const void* parameters);
void search_and_reconstruct(const void* self, int64_t n, const float* x, int64_t k, float* distances,
                            int64_t* ids, float* vectors, const void* parameters);
void search_preassigned(const void* self, int64_t n, const float* x, int64_t k, const int64_t* keys,
                        const float* centroid_distances, float* distances, int64_t* ids, bool store_pairs,
                        const void* parameters, void* stats);
void range_search(const void* self, int64_t n, const float* x, float radius, void* result,
                  const void* parameters);
void range_search_preassigned(const void* self, int64_t n, const float* x, float radius, const int64_t* keys,
                              const float* centroid_distances, void* result, bool store_pairs,
                              const void* parameters, void* stats);
void* get_InvertedListScanner(const void* self, bool store_pairs, const void* selector,
                              const void* parameters);

}  // namespace drq::plugin::ivf
