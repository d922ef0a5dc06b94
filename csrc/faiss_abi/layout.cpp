#include "faiss_abi/layout.h"

#include <cstring>
#include <stdexcept>

#include "faiss_abi/inverted_lists.h"

namespace drq::plugin {

namespace {

Layout measured;
bool is_set = false;

const std::map<std::string, size_t Layout::*> kFields = {
    {"d", &Layout::d},
    {"ntotal", &Layout::ntotal},
    {"is_trained", &Layout::is_trained},
    {"metric_type", &Layout::metric_type},
    {"code_size", &Layout::code_size},
    {"codes_owned", &Layout::codes_owned},
    {"codes_data", &Layout::codes_data},
    {"codes_size", &Layout::codes_size},
    {"rq", &Layout::rq},
    {"ivf_quantizer", &Layout::ivf_quantizer},
    {"ivf_nlist", &Layout::ivf_nlist},
    {"ivf_nprobe", &Layout::ivf_nprobe},
    {"ivf_max_codes", &Layout::ivf_max_codes},
    {"ivf_invlists", &Layout::ivf_invlists},
    {"ivf_code_size", &Layout::ivf_code_size},
    {"ivf_parallel_mode", &Layout::ivf_parallel_mode},
    {"ivf_by_residual", &Layout::ivf_by_residual},
    {"ivf_rq", &Layout::ivf_rq},
    {"lists_use_iterator", &Layout::lists_use_iterator},
    {"lists_nlist", &Layout::lists_nlist},
    {"lists_code_size", &Layout::lists_code_size},
    {"array_lists_codes", &Layout::array_lists_codes},
    {"disk_lists_read_only", &Layout::disk_lists_read_only},
    {"vector_is_owned", &Layout::vector_is_owned},
    {"scanner_list_no", &Layout::scanner_list_no},
    {"scanner_keep_max", &Layout::scanner_keep_max},
    {"scanner_store_pairs", &Layout::scanner_store_pairs},
    {"scanner_sel", &Layout::scanner_sel},
    {"scanner_code_size", &Layout::scanner_code_size},
    {"rq_d", &Layout::rq_d},
    {"rq_code_size", &Layout::rq_code_size},
    {"rq_M", &Layout::rq_M},
    {"rq_nbits", &Layout::rq_nbits},
    {"rq_codebooks", &Layout::rq_codebooks},
    {"rq_codebook_offsets", &Layout::rq_codebook_offsets},
    {"rq_norm_bits", &Layout::rq_norm_bits},
    {"rq_is_trained", &Layout::rq_is_trained},
    {"rq_search_type", &Layout::rq_search_type},
    {"rq_max_beam_size", &Layout::rq_max_beam_size},
    {"params_sel", &Layout::params_sel},
    {"params_nprobe", &Layout::params_nprobe},
    {"params_max_codes", &Layout::params_max_codes},
    {"params_max_lists_num", &Layout::params_max_lists_num},
    {"params_max_empty_result_buckets", &Layout::params_max_empty_result_buckets},
    {"params_quantizer_params", &Layout::params_quantizer_params},
    {"params_inverted_list_context", &Layout::params_inverted_list_context},
    {"stats_nq", &Layout::stats_nq},
    {"stats_nlist", &Layout::stats_nlist},
    {"stats_ndis", &Layout::stats_ndis},
    {"range_lims", &Layout::range_lims},
    {"range_labels", &Layout::range_labels},
    {"range_distances", &Layout::range_distances},
};

/// Why the fields of a residual quantizer do not belong together; empty if they do. All can be set from
/// Python at any time.
std::string misfit(const void* rq) {
    const auto& offsets = field<std::vector<uint64_t>>(rq, measured.rq_codebook_offsets);
    const auto& nbits = field<std::vector<size_t>>(rq, measured.rq_nbits);
    if (nbits.empty()) return "rq.nbits is empty, expected the bits of each level";
    if (const size_t M = field<size_t>(rq, measured.rq_M); M != nbits.size())
        return mismatch("rq.M", M, nbits.size()) + ", as rq.nbits has levels";
    if (offsets.size() != nbits.size() + 1)
        return mismatch("the size of rq.codebook_offsets", offsets.size(), nbits.size() + 1);
    size_t bits = field<size_t>(rq, measured.rq_norm_bits), codewords = 0;
    for (size_t m = 0; m < nbits.size(); m++) {
        if (nbits[m] < 1 || nbits[m] > 16) return unusual_bits(nbits[m]);
        if (offsets[m] != codewords)
            return mismatch("rq.codebook_offsets[" + std::to_string(m) + "]", offsets[m], codewords);
        bits += nbits[m];
        codewords += size_t{1} << nbits[m];
    }
    if (offsets.back() != codewords)
        return mismatch("the end of rq.codebook_offsets", offsets.back(), codewords);
    if (const size_t size = field<size_t>(rq, measured.rq_code_size); size != (bits + 7) / 8)
        return mismatch("rq.code_size", size, (bits + 7) / 8);
    const size_t floats = field<std::vector<float>>(rq, measured.rq_codebooks).size();
    if (const size_t expected = codewords * field<size_t>(rq, measured.rq_d); floats && floats != expected)
        return mismatch("the size of rq.codebooks", floats, expected);
    return "";
}

void read_quantizer(const void* rq, QuantizerView& view) {
    const auto& values = field<std::vector<float>>(rq, measured.rq_codebooks);
    const auto& nbits = field<std::vector<size_t>>(rq, measured.rq_nbits);
    view.misfit = misfit(rq);
    view.codebooks.d = field<size_t>(rq, measured.rq_d);
    view.codebooks.nbits.assign(nbits.begin(), nbits.end());
    view.codebooks_size = values.size();
    if (values.empty() || !view.misfit.empty()) return;
    const auto& offsets = field<std::vector<uint64_t>>(rq, measured.rq_codebook_offsets);
    for (size_t m = 0; m < nbits.size(); m++)
        view.codebooks.level.push_back(values.data() + offsets[m] * view.codebooks.d);
}

void read_index(const void* index, size_t rq_offset, IndexView& view) {
    const char* rq = static_cast<const char*>(index) + rq_offset;
    read_quantizer(rq, view);
    view.rq_code_size = field<size_t>(rq, measured.rq_code_size);
    view.search_type = field<int>(rq, measured.rq_search_type);
    view.max_beam_size = field<int>(rq, measured.rq_max_beam_size);
    view.norm_bits = field<size_t>(rq, measured.rq_norm_bits);
    view.d = size_t(field<int>(index, measured.d));
    if (view.misfit.empty() && view.d != view.codebooks.d)
        view.misfit = mismatch("rq.d", view.codebooks.d, view.d) + ", that of the index";
    view.ntotal = size_t(field<int64_t>(index, measured.ntotal));
    view.metric_type = field<int>(index, measured.metric_type);
    view.is_trained = field<bool>(index, measured.is_trained) && view.codebooks_size > 0;
}

}  // namespace

const Layout& layout() { return measured; }

void set_layout(const std::map<std::string, size_t>& offsets) {
    if (offsets.size() != kFields.size())
        throw std::invalid_argument("layout: " + std::to_string(offsets.size()) + " offsets, expected " +
                                    std::to_string(kFields.size()));
    Layout next;
    for (const auto& [name, offset] : offsets) {
        const auto found = kFields.find(name);
        if (found == kFields.end()) throw std::invalid_argument("layout: unknown field " + name);
        if (is_set && measured.*(found->second) != offset)
            throw std::invalid_argument("layout: got " + name + " at " + std::to_string(offset) +
                                        ", expected " + std::to_string(measured.*(found->second)) +
                                        " as before");
        next.*(found->second) = offset;
    }
    if (is_set) return;
    measured = next;
    is_set = true;
}

uint64_t word_at(const void* object, const std::string& name) {
    const auto found = kFields.find(name);
    if (found == kFields.end()) throw std::invalid_argument("layout: unknown field " + name);
    uint64_t word;
    std::memcpy(&word, &field<char>(object, measured.*(found->second)), sizeof(word));
    return word;
}

FlatView flat_view(const void* index) {
    FlatView view;
    read_index(index, measured.rq, view);
    view.codes.data = field<const uint8_t*>(index, measured.codes_data);
    view.codes.n = view.ntotal;
    view.codes.code_size = field<size_t>(index, measured.code_size);
    view.codes_size = field<size_t>(index, measured.codes_size);
    view.codes_owned = field<bool>(index, measured.codes_owned);
    return view;
}

IvfView ivf_view(const void* index) {
    IvfView view;
    read_index(index, measured.ivf_rq, view);
    view.quantizer = field<const void*>(index, measured.ivf_quantizer);
    view.lists = field<const void*>(index, measured.ivf_invlists);
    view.reconstruct_centroid = reconstruct_centroid;
    if (view.quantizer) {
        view.quantizer_d = size_t(field<int>(view.quantizer, measured.d));
        view.quantizer_ntotal = size_t(field<int64_t>(view.quantizer, measured.ntotal));
    }
    if (view.lists) {
        view.lists_nlist = field<size_t>(view.lists, measured.lists_nlist);
        view.lists_code_size = field<size_t>(view.lists, measured.lists_code_size);
    }
    view.nlist = field<size_t>(index, measured.ivf_nlist);
    view.nprobe = field<size_t>(index, measured.ivf_nprobe);
    view.max_codes = field<size_t>(index, measured.ivf_max_codes);
    view.code_size = field<size_t>(index, measured.ivf_code_size);
    view.parallel_mode = field<int>(index, measured.ivf_parallel_mode);
    view.by_residual = field<bool>(index, measured.ivf_by_residual);
    return view;
}

IvfView searchable_ivf_view(const void* index, const Version& version) {
    IvfView view = ivf_view(index);
    view.version = version;
    require_searchable(view);
    return view;
}

}  // namespace drq::plugin
