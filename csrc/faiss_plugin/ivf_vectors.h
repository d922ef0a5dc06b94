// Vectors into IndexIVFDRQ and out of it: training, encoding, adding, removing, reconstructing, with the
// signatures of FAISS's virtual functions.
#pragma once

#include <cstddef>
#include <cstdint>

namespace drq::plugin::ivf {

void train(void* self, int64_t n, const float* x);
void train_encoder(void* self, int64_t n, const float* x, const int64_t* numbers);
void encode_vectors(const void* self, int64_t n, const float* x, const int64_t* numbers, uint8_t* out,
                    bool with_numbers);
void add_core(void* self, int64_t n, const float* x, const int64_t* ids, const int64_t* numbers,
              void* context);
void add_sa_codes(void* self, int64_t n, const uint8_t* codes, const int64_t* ids);
void sa_decode(const void* self, int64_t n, const uint8_t* codes, float* x);
void reconstruct(const void* self, int64_t key, float* vector);
void reconstruct_n(const void* self, int64_t first, int64_t n, float* vectors);
void reconstruct_from_offset(const void* self, int64_t list, int64_t row, float* vector);
size_t remove_ids(void* self, const void* selector);
void update_vectors(void* self, int n, const int64_t* ids, const float* x);
void merge_from(void* self, void* other, int64_t add_id);
void reset(void* self);

}  // namespace drq::plugin::ivf
