// A fuzz target: shapes, codebooks, codes and searches made of bytes, on every SIMD level and against what a
// double loop finds. With clang's libFuzzer it is a program that looks for inputs of its own; linked with
// replay.cpp one that runs the inputs it is given.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <numeric>
#include <random>
#include <set>
#include <unordered_map>
#include <vector>

#include "core/encode/encoder.h"
#include "core/isa/kernels.h"
#include "core/scan/codeword_groups.h"
#include "core/scan/planes.h"
#include "core/search/flat.h"
#include "core/search/lists/norms.h"
#include "core/search/lists/search.h"
#include "core/search/norms.h"
#include "core/units.h"

using namespace drq;

namespace {

[[noreturn]] void fail(const char* what) {
    std::fprintf(stderr, "finding: %s\n", what);
    std::abort();
}

void require(bool condition, const char* what) {
    if (!condition) fail(what);
}

/// What an input says, byte by byte; zeros after its end.
class Bytes {
  public:
    Bytes(const uint8_t* data, size_t size) : data_(data), size_(size) {}

    uint8_t next() { return size_ ? (size_--, *data_++) : 0; }
    size_t below(size_t bound) { return (next() | size_t{next()} << 8) % bound; }

    const uint8_t* rest() const { return data_; }
    size_t left() const { return size_; }

  private:
    const uint8_t* data_;
    size_t size_;
};

/// As many threads as there are, one after the other.
class InTurn final : public Executor {
  public:
    explicit InTurn(int threads) : threads_(threads) {}
    int threads() const override { return threads_; }
    void run(void (*body)(void*), void (*)(void*), void* context) const override {
        for (int i = 0; i < threads_; i++) body(context);
    }

  private:
    const int threads_;
};

bool every_third(const void*, int64_t id) { return id % 3 == 1; }
bool few(const void*, int64_t id) { return (uint64_t(id) * 0x9E3779B97F4A7C15) >> 60 == 0; }
bool nobody(const void*, int64_t) { return false; }
constexpr bool (*kSelectors[])(const void*, int64_t) = {nullptr, nullptr, every_third, few, nobody};

/// What is searched and how.
struct Case {
    size_t d, n, queries, k, levels;
    std::vector<int> nbits;
    std::vector<std::vector<float>> codebooks;
    std::vector<uint8_t> rows;
    size_t code_size;
    std::vector<float> x;
    Metric metric;
    Selector selector;
    int threads, beam;
    bool by_residual, is_packed;
    std::vector<size_t> ends;      ///< of the lists
    std::vector<float> centroids;  ///< of the lists, (lists, d)
    std::vector<int32_t> probed;   ///< (queries, kProbes)
    static constexpr size_t kProbes = 2;

    bool l2() const { return metric == Metric::L2; }
    bool selects(int64_t id) const { return !selector.is_member || selector.is_member(nullptr, id); }
    size_t codebook_floats() const {
        size_t floats = 0;
        for (const std::vector<float>& codebook : codebooks) floats += codebook.size();
        return floats;
    }
};

/// Levels whose codewords lie in few directions only: those from `first` on, which take turns on blocks.
struct Blocks {
    size_t first = 0, count = 0;
    std::vector<std::vector<double>> axes;  ///< of every block, nearly orthonormal rows (size, d)

    bool has(size_t m) const { return m >= first; }
    size_t of(size_t m) const { return (m - first) % count; }

    /// Leaves of codewords (K, d) of level m what lies along the axes of its block.
    void project(size_t m, size_t d, std::vector<float>& codewords) const {
        if (!has(m)) return;
        const std::vector<double>& own = axes[of(m)];
        for (size_t k = 0; k < codewords.size(); k += d) {
            std::vector<double> projected(d);
            for (size_t i = 0; i < own.size(); i += d) {
                double product = 0;
                for (size_t j = 0; j < d; j++) product += own[i + j] * double(codewords[k + j]);
                for (size_t j = 0; j < d; j++) projected[j] += product * own[i + j];
            }
            std::copy(projected.begin(), projected.end(), &codewords[k]);
        }
    }
};

/// Orthonormal rows (d, d), those of the space or turned.
std::vector<double> make_basis(size_t d, bool is_turned, std::mt19937& random) {
    std::normal_distribution<double> normal;
    std::vector<double> basis(d * d);
    for (size_t i = 0; i < d; i++) {
        double* row = &basis[i * d];
        for (size_t j = 0; j < d; j++) row[j] = is_turned ? normal(random) : double(i == j);
        for (size_t before = 0; before < 2 * i; before++) {  // twice, for what rounding leaves
            const double* other = &basis[before % i * d];
            const double product = std::inner_product(row, row + d, other, 0.0);
            for (size_t j = 0; j < d; j++) row[j] -= product * other[j];
        }
        const double length = std::sqrt(std::inner_product(row, row + d, row, 0.0));
        for (size_t j = 0; j < d; j++) row[j] /= length;
    }
    return basis;
}

/// No blocks, or some that are orthogonal, share axes, or lean towards each other.
Blocks make_blocks(Bytes& bytes, size_t d, size_t levels, std::mt19937& random) {
    constexpr double kLean[] = {0, 0, 1e-6, 1e-3, 0.03, 0.3};
    Blocks blocks;
    blocks.first = bytes.next() % 2 ? bytes.next() % 4 : levels;
    blocks.count = 1 + bytes.next() % 4;
    const size_t size = 1 + bytes.next() % 6, apart = bytes.next() % 2 ? size : bytes.next() % size;
    const double lean = kLean[bytes.next() % std::size(kLean)];
    const std::vector<double> basis = make_basis(d, bytes.next() % 2, random);
    for (size_t b = 0; b < blocks.count; b++) {
        std::vector<double> axes(size * d);
        for (size_t i = 0; i < size; i++)
            for (size_t j = 0; j < d; j++) {
                const size_t own = (b * apart + i) % d, other = (own + size) % d;
                axes[i * d + j] = basis[own * d + j] + double(b) * lean * basis[other * d + j];
            }
        blocks.axes.push_back(axes);
    }
    return blocks;
}

enum Kind { kIndependent, kShared, kTwoGroups, kSmallIntegers, kConstant, kFarApart, kKinds };

/// Codebooks of one kind; levels after the first are smaller, as residuals are.
void make_codebooks(Case& c, Kind kind, const Blocks& blocks, float magnitude, std::mt19937& random) {
    std::normal_distribution<float> normal;
    for (size_t m = 0; m < c.nbits.size(); m++) {
        const size_t own = blocks.has(m)        ? blocks.first + blocks.of(m)
                           : kind == kTwoGroups ? std::min<size_t>(m, 1)
                                                : 0;
        std::vector<float> codebook((size_t{1} << c.nbits[m]) * c.d);
        const bool shares = (kind == kShared || kind == kTwoGroups) && m > own && c.nbits[m] == c.nbits[own];
        const float scale = 1 / float(1 + m - own);
        for (size_t i = 0; i < codebook.size(); i++) {
            const float drawn = shares ? c.codebooks[own][i] * scale : magnitude * scale * normal(random);
            codebook[i] = kind == kSmallIntegers ? magnitude * float(int(random() % 3) - 1)
                          : kind == kConstant    ? magnitude
                          : kind == kFarApart && m == 0
                              ? (random() % 2 ? 1e4f * magnitude : -1e4f * magnitude) + drawn
                              : drawn;
        }
        if (!shares) blocks.project(m, c.d, codebook);
        c.codebooks.push_back(std::move(codebook));
    }
}

Case make_case(Bytes& bytes) {
    Case c{};
    c.d = 1 + bytes.below(24);
    const size_t levels = 1 + bytes.below(20), width = bytes.below(14);
    const auto kind = Kind(bytes.below(kKinds));
    const float magnitude = std::ldexp(1.f, int(bytes.below(100)) - 38);  // up to where squares overflow
    c.n = bytes.next() % 4 ? bytes.below(300) : bytes.below(4000);
    c.queries = 1 + bytes.below(20);
    c.k = 1 + bytes.below(40);
    c.levels = 1 + bytes.below(levels);
    c.metric = bytes.next() % 2 ? Metric::L2 : Metric::InnerProduct;
    c.selector.is_member = kSelectors[bytes.next() % std::size(kSelectors)];
    c.threads = 1 + bytes.next() % 4;
    c.beam = 1 + bytes.next() % 6;
    c.by_residual = bytes.next() % 2;
    c.is_packed = bytes.next() % 2;
    const size_t spare = bytes.next() % 3, lists = 1 + bytes.below(4);
    std::mt19937 random(uint32_t(bytes.below(1 << 16)));
    const Blocks blocks = make_blocks(bytes, c.d, levels, random);

    for (size_t m = 0; m < levels; m++)  // of one width up to 11 bits, or of many
        c.nbits.push_back(width < 11 ? int(width) + 1 : 1 + int(random() % 10));
    make_codebooks(c, kind, blocks, magnitude, random);
    size_t bits = 0;
    for (const int nbits : c.nbits) bits += size_t(nbits);
    c.code_size = (bits + 7) / 8 + spare;
    c.rows.resize(c.n * c.code_size);
    for (size_t i = 0; i < c.rows.size(); i++)
        c.rows[i] = bytes.left() > 64 ? bytes.rest()[i % bytes.left()] : uint8_t(random());

    std::normal_distribution<float> normal;
    c.x.resize(std::max<size_t>(c.queries, 12) * c.d);
    for (float& value : c.x)
        value = magnitude * (kind == kSmallIntegers ? float(random() % 3) : normal(random));
    c.centroids.resize(lists * c.d);
    for (float& value : c.centroids) value = 3 * magnitude * normal(random);
    for (size_t l = 0; l + 1 < lists; l++) c.ends.push_back(random() % (c.n + 1));
    c.ends.push_back(c.n);
    std::sort(c.ends.begin(), c.ends.end());
    for (size_t i = 0; i < c.queries; i++) {  // no list twice, and none now and then
        const int32_t first = int32_t(random() % lists);
        c.probed.push_back(first);
        c.probed.push_back(lists > 1 && random() % 4 ? int32_t((size_t(first) + 1) % lists) : -1);
    }
    return c;
}

/// What the distances are, in double.
class Reference {
  public:
    explicit Reference(const Case& c, const Quantizer& quantizer) : case_(c), rebuilt_(c.n * c.d) {
        std::vector<int32_t> codes(c.n * c.levels);
        unpack_codes(quantizer, {c.rows.data(), c.n, c.code_size}, 0, c.n, c.levels, codes.data());
        for (size_t i = 0; i < c.n; i++)
            for (size_t m = 0; m < c.levels; m++)
                for (size_t j = 0; j < c.d; j++)
                    rebuilt_[i * c.d + j] += c.codebooks[m][size_t(codes[i * c.levels + m]) * c.d + j];
        for (const std::vector<float>& codebook : c.codebooks) longest_ += longest(codebook);
    }

    /// The squared distance or the product of a query and a vector, which may be left over from a centroid.
    double distance(size_t query, size_t vector, const float* centroid) const {
        double sum = 0;
        for (size_t j = 0; j < case_.d; j++) {
            const double q = case_.x[query * case_.d + j];
            const double v = rebuilt_[vector * case_.d + j] + (centroid ? double(centroid[j]) : 0);
            sum += case_.l2() ? (q - v) * (q - v) : q * v;
        }
        return sum;
    }

    /// How far a distance, of L2 its root, may be from double's: some units in the last place of the numbers
    /// that it is summed up from.
    double tolerance(size_t query) const {
        double square = 0;
        for (size_t j = 0; j < case_.d; j++) square += std::pow(double(case_.x[query * case_.d + j]), 2);
        const double others = longest_ + longest(case_.centroids),
                     rounding = double(case_.levels + 8) / (1 << 22);
        return case_.l2() ? rounding * (std::sqrt(square) + others) : rounding * std::sqrt(square) * others;
    }

    /// Whether the query's distances are ordinary floats.
    bool is_ordinary(size_t query) const {
        double largest = longest_ + longest(case_.centroids);
        for (size_t j = 0; j < case_.d; j++)
            largest = std::max(largest, double(std::fabs(case_.x[query * case_.d + j])));
        return largest > 0x1p-30 && largest < 0x1p55;
    }

  private:
    double longest(const std::vector<float>& vectors) const {
        double longest = 0;
        for (size_t i = 0; i < vectors.size(); i += case_.d) {
            double square = 0;
            for (size_t j = 0; j < case_.d; j++) square += double(vectors[i + j]) * vectors[i + j];
            longest = std::max(longest, std::sqrt(square));
        }
        return longest;
    }

    const Case& case_;
    std::vector<double> rebuilt_;
    double longest_ = 0;  ///< what all levels can add up to
};

/// A vector that a query may find.
struct Candidate {
    double distance;
    int64_t id;
};

/// Of what a search found for a query, and of what it had to.
class Answer {
  public:
    Answer(const Case& c, const Reference& reference, size_t query, std::vector<Candidate> candidates)
        : case_(c), tolerance_(reference.tolerance(query)), candidates_(std::move(candidates)) {
        std::sort(candidates_.begin(), candidates_.end(), [&](const Candidate& a, const Candidate& b) {
            return c.l2() ? a.distance < b.distance : a.distance > b.distance;
        });
        for (const Candidate& candidate : candidates_) distances_[candidate.id] = candidate.distance;
    }

    /// The k nearest: as near as double's, with their own distances, in order, ties by id.
    void check_nearest(const float* distances, const int64_t* ids) const {
        const size_t expected = std::min(case_.k, candidates_.size());
        for (size_t j = 0; j < case_.k; j++) {
            require((ids[j] >= 0) == (j < expected), "the number of results");
            if (j >= expected) continue;
            require(is_near(distances[j], candidates_[j].distance), "a nearer vector is missing");
            check_own(distances[j], ids[j]);
            if (j == 0) continue;
            const float before = case_.l2() ? distances[j - 1] : -distances[j - 1];
            const float here = case_.l2() ? distances[j] : -distances[j];
            require(before < here || (before == here && ids[j - 1] < ids[j]), "the order of results");
        }
    }

    /// All within a radius, but for those that are as far as it.
    void check_range(const std::vector<Neighbour>& found, float radius) const {
        std::set<int64_t> ids;
        for (const Neighbour& neighbour : found) {
            require(case_.l2() ? neighbour.distance < radius : neighbour.distance > radius,
                    "beyond the radius");
            require(ids.insert(neighbour.id).second, "an id found twice");
            check_own(neighbour.distance, neighbour.id);
        }
        for (const Candidate& candidate : candidates_) {
            const bool within = case_.l2() ? candidate.distance < radius : candidate.distance > radius;
            if (within && !is_near(radius, candidate.distance))
                require(ids.count(candidate.id), "a vector within the radius is missing");
        }
    }

    /// A radius that about `share` of the candidates are within.
    float radius(double share) const {
        if (candidates_.empty()) return 1;
        return float(candidates_[size_t(share * double(candidates_.size() - 1))].distance);
    }

  private:
    bool is_near(double found, double expected) const {
        constexpr double kExpanded = 6e-5;  // what an expansion may lose of a distance's root
        if (!case_.l2()) return std::fabs(found - expected) <= tolerance_;
        return std::fabs(std::sqrt(found) - std::sqrt(expected)) <=
               kExpanded * std::sqrt(expected) + tolerance_;
    }

    void check_own(double distance, int64_t id) const {
        const auto found = distances_.find(id);
        require(found != distances_.end(), "an id that is not to be found");
        require(is_near(distance, found->second), "a wrong distance");
    }

    const Case& case_;
    const double tolerance_;
    std::vector<Candidate> candidates_;  ///< nearest first
    std::unordered_map<int64_t, double> distances_;
};

/// Everything that one SIMD level finds, to be compared with another's.
struct Found {
    std::vector<float> distances, list_distances, norms;
    std::vector<int64_t> ids, list_ids;
    std::vector<std::vector<Neighbour>> within, within_lists;
    std::vector<int32_t> codes;

    bool operator==(const Found& other) const {
        return same(distances, other.distances) && same(list_distances, other.list_distances) &&
               same(norms, other.norms) && ids == other.ids && list_ids == other.list_ids &&
               same_all(within, other.within) && same_all(within_lists, other.within_lists) &&
               codes == other.codes;
    }

  private:
    static bool same(const std::vector<float>& a, const std::vector<float>& b) {
        return a.size() == b.size() &&
               (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0);
    }
    static bool same_all(const std::vector<std::vector<Neighbour>>& a,
                         const std::vector<std::vector<Neighbour>>& b) {
        if (a.size() != b.size()) return false;
        for (size_t i = 0; i < a.size(); i++) {
            if (a[i].size() != b[i].size()) return false;
            for (size_t j = 0; j < a[i].size(); j++)
                if (a[i][j].id != b[i][j].id || a[i][j].distance != b[i][j].distance) return false;
        }
        return true;
    }
};

constexpr size_t kMostWork = 1 << 23;  // of renumbering, which takes longer than all searches

/// The core, given a case.
class Searches {
  public:
    Searches(const Case& c, std::shared_ptr<const Quantizer> quantizer, const std::vector<float>& radii,
             const std::vector<float>& list_radii)
        : case_(c),
          quantizer_(std::move(quantizer)),
          radii_(radii),
          list_radii_(list_radii),
          executor_(c.threads),
          codes_{c.rows.data(), c.n, c.code_size} {}

    Found run() const {
        Found found;
        search_codes(found);
        search_lists(found);
        found.codes.resize(case_.x.size() / case_.d * case_.nbits.size());
        Encoder(quantizer_)
            .encode(case_.x.size() / case_.d, case_.x.data(), case_.beam, found.codes.data(), executor_);
        return found;
    }

    static int64_t id_in_list(size_t row) { return int64_t(row) * 7 + 3; }

  private:
    const Selector* selector() const { return case_.selector.is_member ? &case_.selector : nullptr; }

    /// The codes as planes, packed in two parts; null where there are to be none.
    std::unique_ptr<const Planes> packed(const std::shared_ptr<const Renumbered>& renumbered) const {
        if (!case_.is_packed || (quantizer_->max_nbits(quantizer_->levels()) > 8 && !renumbered))
            return nullptr;
        Codes first = codes_;
        first.n /= 3;
        const Planes planes =
            Planes(quantizer_, quantizer_->levels(), renumbered, isa::active()).extended(first);
        return std::make_unique<const Planes>(planes.extended(codes_));
    }

    void search_codes(Found& found) const {
        const Case& c = case_;
        found.norms.resize(c.n);
        reconstruction_norms(*quantizer_, codes_, c.levels, 0, c.n, found.norms.data(), executor_);
        const float lowest = c.n ? *std::min_element(found.norms.begin(), found.norms.end()) : 0;
        std::shared_ptr<const Renumbered> renumbered;
        if (can_renumber(*quantizer_) && c.is_packed && renumbering_work(*quantizer_) < kMostWork)
            renumbered = std::make_shared<const Renumbered>(*quantizer_);
        const std::unique_ptr<const Planes> planes = packed(renumbered);
        const Database database{*quantizer_,
                                codes_,
                                c.levels,
                                c.metric,
                                c.l2() ? Norms{found.norms.data(), lowest} : Norms{},
                                selector(),
                                renumbered.get(),
                                planes.get()};
        found.distances.resize(c.queries * c.k);
        found.ids.resize(c.queries * c.k);
        knn_search(database, c.queries, c.x.data(), c.k, found.distances.data(), found.ids.data(), executor_);
        for (size_t i = 0; i < c.queries; i++)
            found.within.push_back(range_search(database, 1, c.x.data() + i * c.d, radii_[i], executor_)[0]);
    }

    void search_lists(Found& found) const {
        const Case& c = case_;
        std::vector<float> origin(c.d), centroids = c.centroids, norms(c.n), products;
        divide(centroids.size(), quantizer_->unit, centroids.data());
        if (c.l2())
            origin = c.by_residual ? std::vector<float>(centroids.begin(), centroids.begin() + long(c.d))
                                   : quantizer_->shift;
        // Ids of a mapped file lie at any address.
        std::vector<uint8_t> ids(1 + c.n * sizeof(int64_t));
        for (size_t i = 0; i < c.n; i++) {
            const int64_t id = id_in_list(i);
            std::memcpy(&ids[1 + i * sizeof(id)], &id, sizeof(id));
        }
        std::vector<InvertedList> lists(c.ends.size());
        for (size_t l = 0, begin = 0; l < lists.size(); begin = c.ends[l++]) {
            const float* centroid = c.by_residual ? centroids.data() + l * c.d : nullptr;
            const Codes part{codes_.row(begin), c.ends[l] - begin, c.code_size};
            lists[l].codes = part.data;
            lists[l].n = part.n;
            lists[l].ids = reinterpret_cast<const int64_t*>(&ids[1 + begin * sizeof(int64_t)]);
            if (!c.l2()) continue;
            list_norms(*quantizer_, part, c.levels, centroid, origin.data(), norms.data() + begin);
            lists[l].norms = norms.data() + begin;
            lists[l].lowest_norm =
                part.n ? *std::min_element(norms.data() + begin, norms.data() + c.ends[l]) : 0;
            lists[l].centroid = centroid;
        }
        for (size_t i = 0; i < c.probed.size(); i++) {
            float product = 0;
            for (size_t j = 0; c.probed[i] >= 0 && j < c.d; j++)
                product += c.x[i / Case::kProbes * c.d + j] * c.centroids[size_t(c.probed[i]) * c.d + j];
            products.push_back(c.by_residual ? product : 0);
        }
        const ListDatabase database{*quantizer_,   c.code_size,   c.levels,  c.metric,
                                    c.by_residual, origin.data(), selector()};
        const Probes probes{Case::kProbes, c.probed.data(), products.data()};
        found.list_distances.resize(c.queries * c.k);
        found.list_ids.resize(c.queries * c.k);
        ListStats stats;
        knn_search_lists(database, lists.data(), lists.size(), c.queries, c.x.data(), probes, c.k,
                         found.list_distances.data(), found.list_ids.data(), stats, executor_);
        for (size_t i = 0; i < c.queries; i++)
            found.within_lists.push_back(range_search_lists(
                database, lists.data(), lists.size(), 1, c.x.data() + i * c.d, list_radii_[i],
                {Case::kProbes, c.probed.data() + i * Case::kProbes, products.data() + i * Case::kProbes},
                stats, executor_)[0]);
    }

    const Case& case_;
    const std::shared_ptr<const Quantizer> quantizer_;
    const std::vector<float>&radii_, list_radii_;
    const InTurn executor_;
    const Codes codes_;
};

std::vector<Candidate> in_codes(const Case& c, const Reference& reference, size_t query) {
    std::vector<Candidate> candidates;
    for (size_t i = 0; i < c.n; i++)
        if (c.selects(int64_t(i))) candidates.push_back({reference.distance(query, i, nullptr), int64_t(i)});
    return candidates;
}

std::vector<Candidate> in_lists(const Case& c, const Reference& reference, size_t query) {
    std::vector<Candidate> candidates;
    for (size_t p = 0; p < Case::kProbes; p++) {
        const int32_t list = c.probed[query * Case::kProbes + p];
        if (list < 0) continue;
        const float* centroid = c.by_residual ? c.centroids.data() + size_t(list) * c.d : nullptr;
        for (size_t i = list ? c.ends[size_t(list) - 1] : 0; i < c.ends[size_t(list)]; i++) {
            const int64_t id = Searches::id_in_list(i);
            if (c.selects(id)) candidates.push_back({reference.distance(query, i, centroid), id});
        }
    }
    return candidates;
}

/// Codes are codes, and with a beam of 1 every level's is the nearest to what is left: first by levels in all
/// dimensions, then by those of blocks, and level 0's mean is taken off before.
void check_codes(const Case& c, const Quantizer& quantizer, const std::vector<int32_t>& codes) {
    const size_t M = c.nbits.size();
    std::vector<size_t> order(M);
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(),
                     [&](size_t a, size_t b) { return quantizer.base(a).block < quantizer.base(b).block; });
    std::vector<double> mean;
    for (const float value : quantizer.shift) mean.push_back(double(value) * quantizer.unit);
    const auto codeword = [&](size_t m, size_t k, size_t j) {
        return double(c.codebooks[m][k * c.d + j]) - (m ? 0 : mean[j]);
    };
    for (size_t i = 0; i < c.x.size() / c.d; i++) {
        std::vector<double> left(c.d);
        double size = 0;
        for (size_t j = 0; j < c.d; j++) {
            left[j] = double(c.x[i * c.d + j]) - mean[j];
            size += left[j] * left[j] + mean[j] * mean[j];
        }
        for (const size_t m : order) {
            const size_t K = size_t{1} << c.nbits[m], code = size_t(codes[i * M + m]);
            require(code < K, "a code that is none");
            std::vector<double> errors(K);
            for (size_t k = 0; k < K; k++)
                for (size_t j = 0; j < c.d; j++) {
                    errors[k] += std::pow(left[j] - codeword(m, k, j), 2);
                    size = std::max(size, std::pow(codeword(m, k, j), 2) * double(c.d));
                }
            const double tolerance = double(M + 8) * double(M + 8) / (1 << 20) * size;
            if (c.beam == 1 && size < 0x1p110 && size > 0x1p-60)
                require(errors[code] <= *std::min_element(errors.begin(), errors.end()) + tolerance,
                        "a code that is not the nearest");
            for (size_t j = 0; j < c.d; j++) left[j] -= codeword(m, code, j);
        }
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    Bytes bytes(data, size);
    const Case c = make_case(bytes);
    Codebooks codebooks{c.d, c.nbits, {}};
    for (const std::vector<float>& codebook : c.codebooks) codebooks.level.push_back(codebook.data());
    const auto quantizer = std::make_shared<const Quantizer>(Quantizer::from_codebooks(codebooks));
    const Reference reference(c, *quantizer);
    std::vector<Answer> answers, list_answers;
    std::vector<float> radii, list_radii;
    for (size_t i = 0; i < c.queries; i++) {
        answers.emplace_back(c, reference, i, in_codes(c, reference, i));
        list_answers.emplace_back(c, reference, i, in_lists(c, reference, i));
        radii.push_back(answers[i].radius(double(i) / double(c.queries)));
        list_radii.push_back(list_answers[i].radius(double(i) / double(c.queries)));
    }

    const Searches searches(c, quantizer, radii, list_radii);
    isa::set_target(isa::Target::Scalar);
    const Found found = searches.run();
    for (int level = 1; level <= int(isa::best_target()); level++) {
        isa::set_target(isa::Target(level));
        if (!(searches.run() == found)) fail(isa::target_name(isa::Target(level)));
    }
    for (size_t i = 0; i < c.queries; i++) {
        if (!reference.is_ordinary(i)) continue;
        answers[i].check_nearest(&found.distances[i * c.k], &found.ids[i * c.k]);
        answers[i].check_range(found.within[i], radii[i]);
        list_answers[i].check_nearest(&found.list_distances[i * c.k], &found.list_ids[i * c.k]);
        list_answers[i].check_range(found.within_lists[i], list_radii[i]);
    }
    check_codes(c, *quantizer, found.codes);
    return 0;
}
