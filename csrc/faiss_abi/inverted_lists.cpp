#include "faiss_abi/inverted_lists.h"

#include <vector>

#include "faiss_abi/layout.h"

namespace drq::plugin {

namespace {

struct Slots {
    size_t list_size, get_codes, get_ids, release_codes, release_ids, add_entries;  // of InvertedLists
    size_t reconstruct;                                                             // of Index
};

Slots slots;

/// Virtual tables of classes of lists, and the function of those that can only be read.
const void *array_lists, *disk_lists, *read_only_add_entries;

bool is_mapped(const void* lists, size_t nlist) {
    // The std::vector of the lists' codes, by its bytes: the size of an element is not known.
    const auto& codes = field<std::vector<char>>(lists, layout().array_lists_codes);
    for (size_t number = 0; number < nlist; number++)
        if (list_size(lists, number) > 0)
            return !field<bool>(codes.data(), codes.size() / nlist * number + layout().vector_is_owned);
    return false;
}

}  // namespace

void open_lists(const Library& library) {
    const Vtable base(library, "_ZTVN5faiss13InvertedListsE");
    const Vtable in_memory(library, "_ZTVN5faiss18ArrayInvertedListsE");
    slots.list_size = in_memory.slot("_ZNK5faiss18ArrayInvertedLists9list_sizeEm");
    slots.get_codes = in_memory.slot("_ZNK5faiss18ArrayInvertedLists9get_codesEm");
    slots.get_ids = in_memory.slot("_ZNK5faiss18ArrayInvertedLists7get_idsEm");
    slots.add_entries = in_memory.slot("_ZN5faiss18ArrayInvertedLists11add_entriesEmmPKlPKh");
    array_lists = in_memory.stock_pointer();
    disk_lists = Vtable(library, "_ZTVN5faiss19OnDiskInvertedListsE").stock_pointer();
    read_only_add_entries = library.symbol("_ZN5faiss21ReadOnlyInvertedLists11add_entriesEmmPKlPKh");
    slots.release_codes = base.slot("_ZNK5faiss13InvertedLists13release_codesEmPKh");
    slots.release_ids = base.slot("_ZNK5faiss13InvertedLists11release_idsEmPKl");
    const Vtable index(library, "_ZTVN5faiss5IndexE");
    slots.reconstruct = index.slot("_ZNK5faiss5Index11reconstructElPf");
}

std::string why_unchangeable(const void* lists, size_t nlist) {
    const void* const* vtable = field<const void* const*>(lists, 0);
    if (vtable == array_lists && is_mapped(lists, nlist))
        return "the inverted lists are in a mapped file, expected an index read into memory";
    const bool read_only = vtable == disk_lists ? field<bool>(lists, layout().disk_lists_read_only)
                                                : vtable[slots.add_entries] == read_only_add_entries;
    return read_only ? "the inverted lists can only be read" : "";
}

ReadList::ReadList(const void* lists, size_t number) : lists_(lists), number_(number) {
    n = list_size(lists, number);
    if (n == 0) return;
    codes = call_virtual<const uint8_t*>(lists, slots.get_codes, number);
    ids = call_virtual<const int64_t*>(lists, slots.get_ids, number);
}

ReadList::ReadList(ReadList&& other) noexcept
    : ListCodes(other), lists_(other.lists_), number_(other.number_) {
    other.n = 0;
}

ReadList::~ReadList() {
    if (n == 0) return;
    call_virtual<void>(lists_, slots.release_codes, number_, codes);
    call_virtual<void>(lists_, slots.release_ids, number_, ids);
}

size_t list_size(const void* lists, size_t number) {
    return call_virtual<size_t>(lists, slots.list_size, number);
}

bool uses_iterator(const void* lists) { return field<bool>(lists, layout().lists_use_iterator); }

void reconstruct_centroid(const void* coarse_quantizer, size_t number, float* out) {
    call_virtual<void>(coarse_quantizer, slots.reconstruct, int64_t(number), out);
}

}  // namespace drq::plugin
