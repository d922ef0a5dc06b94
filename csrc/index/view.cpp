#include "index/view.h"

#include <stdexcept>

namespace drq {

namespace {

constexpr int kInnerProduct = 0, kL2 = 1;  // faiss::MetricType, as in FAISS's files

void require_code_size(const IndexView& view, size_t code_size) {
    if (code_size != view.rq_code_size)
        throw std::runtime_error(mismatch("code_size", code_size, view.rq_code_size) +
                                 ", that of the codebooks");
}

void require_searchable(const IndexView& view) {
    if (!view.is_trained) throw std::runtime_error("the index is not trained");
    if (!view.misfit.empty()) throw std::runtime_error(view.misfit);
}

}  // namespace

std::string mismatch(const std::string& what, size_t is, size_t expected) {
    return what + " is " + std::to_string(is) + ", expected " + std::to_string(expected);
}

std::string unusual_bits(size_t nbits) {
    return "it has a level of " + std::to_string(nbits) + " bits, expected 1 to 16";
}

void require_searchable(const FlatView& view) {
    require_searchable(static_cast<const IndexView&>(view));
    require_codes(view);
}

void require_codes(const FlatView& view) {
    require_code_size(view, view.codes.code_size);
    if (view.codes_size < view.ntotal * view.codes.code_size)
        throw std::runtime_error("the index holds " + std::to_string(view.codes_size) + " bytes of codes, " +
                                 std::to_string(view.ntotal) + " vectors of " +
                                 std::to_string(view.codes.code_size) + " bytes need more");
}

void require_encodable(const IvfView& view) {
    require_searchable(static_cast<const IndexView&>(view));
    require_code_size(view, view.code_size);
    if (!view.quantizer) throw std::runtime_error("the index has no coarse quantizer");
    if (view.quantizer_d != view.d)
        throw std::runtime_error(mismatch("quantizer.d", view.quantizer_d, view.d) + ", that of the index");
    if (view.by_residual && view.quantizer_ntotal < view.nlist)
        throw std::runtime_error(mismatch("quantizer.ntotal", view.quantizer_ntotal, view.nlist) +
                                 ", one for each list");
}

void require_searchable(const IvfView& view) {
    require_encodable(view);
    require_lists(view);
}

void require_lists(const IvfView& view) {
    if (!view.lists) throw std::runtime_error("the index has no inverted lists");
    if (view.lists_nlist != view.nlist)
        throw std::runtime_error(mismatch("invlists.nlist", view.lists_nlist, view.nlist));
    if (view.lists_code_size != view.code_size)
        throw std::runtime_error(mismatch("invlists.code_size", view.lists_code_size, view.code_size));
}

Metric metric_of(int metric_type) {
    if (metric_type == kL2) return Metric::L2;
    if (metric_type == kInnerProduct) return Metric::InnerProduct;
    throw std::invalid_argument("metric_type is " + std::to_string(metric_type) +
                                ", expected METRIC_L2 (1) or METRIC_INNER_PRODUCT (0)");
}

std::string unsupported(const IndexView& view) {
    if (view.metric_type != kL2 && view.metric_type != kInnerProduct)
        return "its metric_type is " + std::to_string(view.metric_type) +
               ", expected METRIC_L2 (1) or METRIC_INNER_PRODUCT (0)";
    for (int nbits : view.codebooks.nbits)
        if (nbits < 1 || nbits > 16) return unusual_bits(size_t(nbits));
    return view.misfit;
}

}  // namespace drq
