#include "faiss_plugin/id_map.h"

#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <typeinfo>
#include <vector>

#include "faiss_abi/layout.h"
#include "faiss_plugin/common.h"
#include "faiss_plugin/parameters.h"

namespace drq::plugin {

namespace {

constexpr const char* kClasses[] = {"_ZTVN5faiss18IndexIDMapTemplateINS_5IndexEEE",
                                    "_ZTVN5faiss19IndexIDMap2TemplateINS_5IndexEEE"};
constexpr const char* kRangeSearch =
    "_ZNK5faiss18IndexIDMapTemplateINS_5IndexEE12range_searchElPKffPNS_17RangeSearchResultEPKNS_"
    "16SearchParametersE";
constexpr size_t kMostBytes = 128;  // of search parameters

struct IdMaps {
    IdMapLayout layout;
    size_t slot;  ///< of range_search, in every faiss::Index
    const std::type_info *parameters, *ivf_parameters, *translated;
    void (*range_search)(const void*, int64_t, const float*, float, void*, const void*);
};

const IdMaps* maps = nullptr;

const std::type_info& class_of(const void* object) {
    const void* const* vtable = field<const void* const*>(object, 0);
    return *static_cast<const std::type_info*>(vtable[-1]);
}

/// Bytes of search parameters of the classes that can be copied; 0 for others.
size_t bytes_of(const void* parameters) {
    const std::type_info& is = class_of(parameters);
    if (is == *maps->parameters) return maps->layout.parameters;
    return is == *maps->ivf_parameters ? maps->layout.ivf_parameters : 0;
}

/// A faiss::IDSelector that asks another one about the ids that rows have. Its only function is in the slot
/// that open_additive found for is_member.
class ByIds {
  public:
    ByIds(const std::vector<int64_t>& ids, const void* selector) : ids_(ids), selector_(selector) {}
    virtual bool is_member(int64_t row) const { return drq::plugin::is_member(selector_, ids_[size_t(row)]); }
    virtual ~ByIds() = default;

  private:
    const std::vector<int64_t>& ids_;
    const void* selector_;
};

/// A copy of search parameters with another selector. Other threads may be using the original.
class WithSelector {
  public:
    WithSelector(const void* parameters, size_t bytes, const ByIds& selector) {
        std::memcpy(copy_, parameters, bytes);
        field<const void*>(copy_, layout().params_sel) = &selector;
        copy_parameters(parameters, copy_);
    }
    ~WithSelector() { drop_parameters(copy_); }
    WithSelector(const WithSelector&) = delete;
    WithSelector& operator=(const WithSelector&) = delete;

    const void* get() const { return copy_; }

  private:
    alignas(std::max_align_t) char copy_[kMostBytes];
};

/// Turns the rows that the index inside has found into ids.
void number(void* result, size_t n, const std::vector<int64_t>& ids) {
    const size_t found = field<const size_t*>(result, layout().range_lims)[n];
    int64_t* labels = field<int64_t*>(result, layout().range_labels);
    for (size_t i = 0; i < found; i++)
        if (labels[i] >= 0) labels[i] = ids[size_t(labels[i])];
}

void range_search(const void* self, int64_t n, const float* x, float radius, void* result,
                  const void* parameters) {
    const size_t bytes = parameters ? bytes_of(parameters) : 0;
    if (!bytes) return maps->range_search(self, n, x, radius, result, parameters);
    const void* index = field<const void*>(self, maps->layout.index);
    const auto& ids = field<std::vector<int64_t>>(self, maps->layout.ids);
    const auto search = [&](const void* handed_on) {
        call_virtual<void>(index, maps->slot, n, x, radius, result, handed_on);
    };
    const void* selector = selector_of(parameters);
    if (!selector || class_of(selector) == *maps->translated) {
        search(parameters);
    } else {
        const ByIds by_ids(ids, selector);
        search(WithSelector(parameters, bytes, by_ids).get());
    }
    number(result, size_t(n), ids);
}

}  // namespace

void mend_id_maps(const Library& library, const IdMapLayout& layout) {
    if (maps) return;
    for (const size_t bytes : {layout.parameters, layout.ivf_parameters})
        if (bytes > kMostBytes)
            throw std::runtime_error("search parameters take " + std::to_string(bytes) +
                                     " bytes, expected at most " + std::to_string(kMostBytes));
    if (const size_t slot = additive_slots().at("IDSelector.is_member"))
        throw std::runtime_error("IDSelector::is_member is in slot " + std::to_string(slot) + ", expected 0");
    auto* found = new IdMaps{layout, 0, nullptr, nullptr, nullptr, nullptr};
    library.find("_ZTIN5faiss16SearchParametersE", found->parameters);
    library.find("_ZTIN5faiss19SearchParametersIVFE", found->ivf_parameters);
    library.find("_ZTIN5faiss20IDSelectorTranslatedE", found->translated);
    library.find(kRangeSearch, found->range_search);
    found->slot = Vtable(library, kClasses[0]).slot(kRangeSearch);
    const Vtable second(library, kClasses[1]);
    if (second.slot(kRangeSearch) != found->slot)
        throw std::runtime_error("IndexIDMap2::range_search is in slot " +
                                 std::to_string(second.slot(kRangeSearch)) + ", expected " +
                                 std::to_string(found->slot));
    maps = found;
    for (const char* name : kClasses)
        Vtable(library, name).replace_in_library(found->slot, reinterpret_cast<const void*>(range_search));
}

}  // namespace drq::plugin
