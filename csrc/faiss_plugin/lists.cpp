#include "faiss_plugin/lists.h"

#include <utility>

#include "faiss_plugin/abi.h"

namespace drq::plugin {

namespace {

struct Slots {
    size_t list_size, get_codes, get_ids, release_codes, release_ids;  // of InvertedLists
    size_t reconstruct, compute_residual_n;                            // of Index
};

Slots slots;

}  // namespace

void open_lists(const Library& library) {
    const Vtable base(library, "_ZTVN5faiss13InvertedListsE");
    const Vtable in_memory(library, "_ZTVN5faiss18ArrayInvertedListsE");
    slots.list_size = in_memory.slot("_ZNK5faiss18ArrayInvertedLists9list_sizeEm");
    slots.get_codes = in_memory.slot("_ZNK5faiss18ArrayInvertedLists9get_codesEm");
    slots.get_ids = in_memory.slot("_ZNK5faiss18ArrayInvertedLists7get_idsEm");
    slots.release_codes = base.slot("_ZNK5faiss13InvertedLists13release_codesEmPKh");
    slots.release_ids = base.slot("_ZNK5faiss13InvertedLists11release_idsEmPKl");
    const Vtable index(library, "_ZTVN5faiss5IndexE");
    slots.reconstruct = index.slot("_ZNK5faiss5Index11reconstructElPf");
    slots.compute_residual_n = index.slot("_ZNK5faiss5Index18compute_residual_nElPKfPfPKl");
}

ReadList::ReadList(const void* lists, size_t number) : lists_(lists), number_(number) {
    n = call_virtual<size_t>(lists, slots.list_size, number);
    if (n == 0) return;
    codes = call_virtual<const uint8_t*>(lists, slots.get_codes, number);
    ids = call_virtual<const int64_t*>(lists, slots.get_ids, number);
}

ReadList::ReadList(ReadList&& other) noexcept
    : n(std::exchange(other.n, 0)),
      codes(other.codes),
      ids(other.ids),
      lists_(other.lists_),
      number_(other.number_) {}

ReadList::~ReadList() {
    if (n == 0) return;
    call_virtual<void>(lists_, slots.release_codes, number_, codes);
    call_virtual<void>(lists_, slots.release_ids, number_, ids);
}

bool uses_iterator(const void* lists) { return field<bool>(lists, layout().lists_use_iterator); }

void reconstruct_centroid(const void* coarse_quantizer, size_t number, float* out) {
    call_virtual<void>(coarse_quantizer, slots.reconstruct, int64_t(number), out);
}

void compute_residuals(const void* coarse_quantizer, int64_t n, const float* x, float* residuals,
                       const int64_t* numbers) {
    call_virtual<void>(coarse_quantizer, slots.compute_residual_n, n, x, residuals, numbers);
}

}  // namespace drq::plugin
