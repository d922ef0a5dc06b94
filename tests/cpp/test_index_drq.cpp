// The C++ IndexDRQ against files and results from Python (write_expected.py) and against FAISS's own search.
// Usage: test_index_drq FOLDER
#include <drqfaiss/IndexDRQ.h>
#include <faiss/IndexIDMap.h>
#include <faiss/IndexRefine.h>
#include <faiss/clone_index.h>
#include <faiss/impl/AuxIndexStructures.h>
#include <faiss/impl/FaissException.h>
#include <faiss/impl/IDSelector.h>
#include <faiss/index_io.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <limits>
#include <string>
#include <vector>

using drqfaiss::IndexDRQ;
using drqfaiss::SearchParametersDRQ;

namespace {

std::string folder;

#define CHECK(condition)                                                                       \
    do {                                                                                       \
        if (!(condition)) {                                                                    \
            std::fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #condition); \
            std::exit(1);                                                                      \
        }                                                                                      \
    } while (false)

/// Rows of a .fvecs, .ivecs or .bvecs file, one after the other.
template <class T>
std::vector<T> read_vecs(const std::string& name) {
    std::ifstream file(folder + "/" + name, std::ios::binary);
    std::vector<T> values;
    int32_t d = 0;
    while (file.read(reinterpret_cast<char*>(&d), sizeof d)) {
        values.resize(values.size() + size_t(d));
        file.read(reinterpret_cast<char*>(values.data() + values.size() - size_t(d)), d * int64_t(sizeof(T)));
    }
    CHECK(!values.empty());
    return values;
}

std::unique_ptr<IndexDRQ> read(const std::string& name) {
    return drqfaiss::read_index((folder + "/" + name + ".faiss").c_str());
}

struct Found {
    std::vector<float> distances;
    std::vector<int64_t> ids;
    bool operator==(const Found& other) const { return distances == other.distances && ids == other.ids; }
};

Found search(const faiss::Index& index, const std::vector<float>& x, int64_t k,
             const faiss::SearchParameters* parameters = nullptr) {
    const int64_t n = int64_t(x.size()) / index.d;
    Found found{std::vector<float>(size_t(n * k)), std::vector<int64_t>(size_t(n * k))};
    index.search(n, x.data(), k, found.distances.data(), found.ids.data(), parameters);
    return found;
}

/// Requires a faiss::FaissException whose message contains the text.
void check_throws(const char* text, const std::function<void()>& call) {
    std::string message = "nothing";
    try {
        call();
    } catch (const faiss::FaissException& error) {
        message = error.what();
    }
    if (message.find(text) == std::string::npos) {
        std::fprintf(stderr, "expected an exception that says \"%s\", got: %s\n", text, message.c_str());
        std::exit(1);
    }
}

const std::vector<std::string> kIndexes = {"l28", "l24", "l26", "ip8", "ip4", "ip6"};
constexpr int64_t kFound = 10;

void test_finds_and_encodes_what_python_does() {
    const auto base = read_vecs<float>("base.fvecs"), x = read_vecs<float>("query.fvecs");
    for (const std::string& name : kIndexes) {
        const auto index = read(name);
        Found all;
        SearchParametersDRQ parameters;
        for (parameters.levels = 1; parameters.levels <= index->rq.M; parameters.levels++) {
            const Found found = search(*index, x, kFound, &parameters);
            all.distances.insert(all.distances.end(), found.distances.begin(), found.distances.end());
            all.ids.insert(all.ids.end(), found.ids.begin(), found.ids.end());
        }
        const auto ids = read_vecs<int32_t>(name + ".ivecs");
        CHECK((all == Found{read_vecs<float>(name + ".fvecs"), {ids.begin(), ids.end()}}));
        const std::vector<uint8_t> before(index->codes.data(), index->codes.data() + index->codes.size());
        CHECK(before == read_vecs<uint8_t>(name + ".codes.bvecs"));
        index->reset();
        index->add(int64_t(base.size()) / index->d, base.data());
        CHECK(std::equal(before.begin(), before.end(), index->codes.data()));
    }
}

void test_finds_what_faiss_does() {
    const auto x = read_vecs<float>("query.fvecs");
    for (const char* name : {"l28", "ip8", "stock"}) {
        const auto index = read(name);
        const std::unique_ptr<faiss::Index> stock(faiss::clone_index(index.get()));
        const Found expected = search(*stock, x, kFound), found = search(*index, x, kFound);
        size_t same = 0;
        for (size_t i = 0; i < found.ids.size(); i++) {
            CHECK(std::abs(found.distances[i] - expected.distances[i]) < 1e-3);
            same += found.ids[i] == expected.ids[i];
        }
        CHECK(same > found.ids.size() * 9 / 10);  // vectors with equal codes may be swapped
    }
}

void test_levels_of_the_index() {
    const auto x = read_vecs<float>("query.fvecs");
    const auto index = read("l28");
    SearchParametersDRQ parameters;
    parameters.levels = 2;
    const Found expected = search(*index, x, kFound, &parameters);
    index->levels = 2;
    const faiss::SearchParameters plain;
    CHECK(search(*index, x, kFound) == expected);
    CHECK(search(*index, x, kFound, &plain) == expected);
    parameters.levels = 6;
    check_throws("levels is 6, expected 0 (all) to 5", [&] { search(*index, x, kFound, &parameters); });
}

void test_two_stages() {
    const auto x = read_vecs<float>("query.fvecs");
    const auto index = read("l28");
    const Found whole = search(*index, x, kFound);
    SearchParametersDRQ parameters;
    parameters.levels = 2;
    const Found few = search(*index, x, kFound, &parameters);
    parameters.refine_factor = size_t(index->ntotal);  // everything is ranked
    CHECK(search(*index, x, kFound, &parameters) == whole);
    parameters.refine_factor = 1;  // the same vectors in another order
    Found ranked = search(*index, x, kFound, &parameters), scanned = few;
    CHECK(!(ranked == few));
    for (size_t i = 0; i < ranked.ids.size(); i += kFound)
        for (Found* found : {&ranked, &scanned})
            std::sort(found->ids.begin() + int64_t(i), found->ids.begin() + int64_t(i) + kFound);
    CHECK(ranked.ids == scanned.ids);
    index->levels = 2;
    index->refine_factor = size_t(index->ntotal);
    CHECK(search(*index, x, kFound) == whole);
    CHECK(search(IndexDRQ(*index), x, kFound) == whole);
    parameters.refine_levels = 1;
    check_throws("refine_levels is 1, expected at least the 2 levels that are scanned",
                 [&] { search(*index, x, kFound, &parameters); });
}

void test_selector_and_range() {
    const auto x = read_vecs<float>("query.fvecs");
    const auto index = read("l28");
    faiss::IDSelectorRange selector(100, 200);
    SearchParametersDRQ parameters;
    parameters.sel = &selector;
    const Found all = search(*index, x, 150, &parameters);
    for (size_t i = 0; i < all.ids.size(); i++) {
        const bool found = i % 150 < 100;
        CHECK(found ? all.ids[i] >= 100 && all.ids[i] < 200 : all.ids[i] == -1);
    }
    const float radius = all.distances[50];
    faiss::RangeSearchResult within(1);
    index->range_search(1, x.data(), radius, &within, &parameters);
    CHECK(within.lims[1] ==
          size_t(std::lower_bound(all.distances.begin(), all.distances.begin() + 100, radius) -
                 all.distances.begin()));
    for (size_t i = 0; i < within.lims[1]; i++) CHECK(within.distances[i] < radius);
}

/// Searches after changes equal those of an index that was never searched before.
void test_changes_between_searches() {
    const auto base = read_vecs<float>("base.fvecs"), x = read_vecs<float>("query.fvecs");
    const auto index = read("l28"), other = read("l28");
    const auto check_fresh = [&] { CHECK(search(*index, x, kFound) == search(IndexDRQ(*index), x, kFound)); };
    search(*index, x, kFound);
    index->add(100, base.data());
    CHECK(index->ntotal == 3100);
    check_fresh();
    faiss::IDSelectorRange selector(10, 1000);
    CHECK(index->remove_ids(selector) == 990);
    check_fresh();
    index->merge_from(*other);
    CHECK(index->ntotal == 5110 && other->ntotal == 0);
    check_fresh();
    index->reset();
    CHECK(search(*index, x, 1).ids[0] == -1);
}

/// Rows that no sample of the codes looks at may be among those that move.
void test_permuted_entries() {
    const auto x = read_vecs<float>("query.fvecs");
    const auto index = read("l28"), before = read("l28");
    search(*index, x, kFound);
    std::vector<int64_t> order(size_t(index->ntotal));
    for (size_t i = 0; i < order.size(); i++) order[i] = int64_t(i);
    std::swap(order[3], order[4]);
    std::rotate(order.begin() + 1000, order.begin() + 1001, order.begin() + 1100);
    index->permute_entries(order.data());
    const auto size = index->code_size;
    for (size_t i = 0; i < order.size(); i++)
        CHECK(std::equal(index->codes.data() + i * size, index->codes.data() + (i + 1) * size,
                         before->codes.data() + size_t(order[i]) * size));
    CHECK(search(*index, x, kFound) == search(IndexDRQ(*index), x, kFound));
}

/// Two codes that no sample looks at change places behind the index's back.
void test_forget() {
    const auto x = read_vecs<float>("query.fvecs");
    const auto index = read("l28");
    search(*index, x, kFound);
    std::swap_ranges(index->codes.data() + 3 * index->code_size, index->codes.data() + 4 * index->code_size,
                     index->codes.data() + 4 * index->code_size);
    index->forget();
    CHECK(search(*index, x, kFound) == search(IndexDRQ(*index), x, kFound));
}

void test_inside_an_id_map() {
    const auto base = read_vecs<float>("base.fvecs"), x = read_vecs<float>("query.fvecs");
    const auto index = read("l28");
    const Found expected = search(*index, x, kFound);
    index->reset();
    faiss::IndexIDMap2 outer(index.get());
    std::vector<int64_t> ids(base.size() / size_t(index->d));
    for (size_t i = 0; i < ids.size(); i++) ids[i] = int64_t(i) + 7000;
    outer.add_with_ids(int64_t(ids.size()), base.data(), ids.data());
    Found found = search(outer, x, kFound);
    for (int64_t& id : found.ids) id -= 7000;
    CHECK(found == expected);
}

void test_refinement() {
    const auto base = read_vecs<float>("base.fvecs"), x = read_vecs<float>("query.fvecs");
    const auto index = read("l28");
    index->reset();
    faiss::IndexFlatL2 exact(index->d);
    exact.add(int64_t(base.size()) / index->d, base.data());
    faiss::IndexRefineFlat outer(index.get());
    outer.add(int64_t(base.size()) / index->d, base.data());
    outer.k_factor = 300;
    CHECK(search(outer, x, kFound).ids == search(exact, x, kFound).ids);
}

/// Graphs compare by FAISS's distance computers, which decode.
void test_distance_computer() {
    const auto x = read_vecs<float>("query.fvecs");
    const auto index = read("l28");
    const Found found = search(*index, x, 1);
    const std::unique_ptr<faiss::DistanceComputer> computer(index->get_distance_computer());
    computer->set_query(x.data());
    CHECK(std::abs((*computer)(found.ids[0]) - found.distances[0]) < 1e-3);
}

void test_copies_and_files_are_stock() {
    const auto x = read_vecs<float>("query.fvecs");
    const auto index = read("l28");
    const std::unique_ptr<faiss::Index> clone(faiss::clone_index(index.get()));
    auto* stock = dynamic_cast<faiss::IndexResidualQuantizer*>(clone.get());
    CHECK(stock && !dynamic_cast<IndexDRQ*>(clone.get()));
    const Found expected = search(*index, x, kFound);
    CHECK(search(IndexDRQ(*stock), x, kFound) == expected);
    faiss::write_index(index.get(), (folder + "/written.faiss").c_str());
    CHECK(search(*read("written"), x, kFound) == expected);
}

void test_training_is_faiss_own() {
    const auto base = read_vecs<float>("base.fvecs"), x = read_vecs<float>("query.fvecs");
    IndexDRQ index(24, 3, 4);
    check_throws("not trained", [&] { search(index, x, 1); });
    index.train(1000, base.data());
    index.add(1000, base.data());
    faiss::IndexResidualQuantizer stock(index);
    stock.aq = &stock.rq;
    const Found expected = search(stock, x, 1), found = search(index, x, 1);
    for (size_t i = 0; i < found.ids.size(); i++)
        CHECK(std::abs(found.distances[i] - expected.distances[i]) < 1e-3);
}

void test_bad_input_changes_nothing() {
    const auto base = read_vecs<float>("base.fvecs"), x = read_vecs<float>("query.fvecs");
    const auto index = read("l28");
    const Found before = search(*index, x, kFound);
    auto bad = base;
    bad[24 * 7] = std::numeric_limits<float>::quiet_NaN();
    check_throws("vector 7 holds nan", [&] { index->add(10, bad.data()); });
    check_throws("k is 0", [&] { search(*index, x, 0); });
    const auto other = read("l28");
    other->rq.codebooks[0] += 1;
    check_throws("other codebooks", [&] { index->merge_from(*other); });
    check_throws("metric", [&] { IndexDRQ(24, 3, 4, faiss::METRIC_L1); });
    check_throws("level of 17 bits, expected 1 to 16", [&] { IndexDRQ(24, 1, 17); });
    check_throws("could not open", [&] { drqfaiss::read_index((folder + "/none").c_str()); });
    const faiss::IndexFlatL2 flat(24);
    faiss::write_index(&flat, (folder + "/flat.faiss").c_str());
    check_throws("holds no residual quantizer index", [&] { read("flat"); });
    CHECK(index->ntotal == 3000 && search(*index, x, kFound) == before);
}

}  // namespace

int main(int argc, char** argv) {
    CHECK(argc == 2);
    folder = argv[1];
    test_finds_and_encodes_what_python_does();
    test_finds_what_faiss_does();
    test_levels_of_the_index();
    test_two_stages();
    test_selector_and_range();
    test_changes_between_searches();
    test_permuted_entries();
    test_forget();
    test_inside_an_id_map();
    test_refinement();
    test_distance_computer();
    test_copies_and_files_are_stock();
    test_training_is_faiss_own();
    test_bad_input_changes_nothing();
    std::puts("IndexDRQ in C++: all tests passed");
}
