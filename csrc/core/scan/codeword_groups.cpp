#include "core/scan/codeword_groups.h"

#include <algorithm>
#include <numeric>
#include <tuple>

namespace drq {

namespace {

constexpr size_t kFewestQueries = 16;
constexpr int kWidest = 11;  // bits
constexpr int kDropped = 2;  // bits that ByteTables drop, at most

/// Codewords that will be neighbours.
struct Group {
    std::vector<size_t> members;
    std::vector<float> sum;
};

float distance(const std::vector<float>& a, const std::vector<float>& b) {
    float square = 0;
    for (size_t j = 0; j < a.size(); j++) square += (a[j] - b[j]) * (a[j] - b[j]);
    return square;
}

Group joined(const Group& a, const Group& b) {
    Group both = a;
    both.members.insert(both.members.end(), b.members.begin(), b.members.end());
    for (size_t j = 0; j < both.sum.size(); j++) both.sum[j] += b.sum[j];
    return both;
}

/// Joins an even number of groups of one size two by two, the most alike first.
std::vector<Group> pair_up(const std::vector<Group>& groups) {
    std::vector<std::tuple<float, size_t, size_t>> pairs;
    for (size_t a = 0; a < groups.size(); a++)
        for (size_t b = a + 1; b < groups.size(); b++)
            pairs.emplace_back(distance(groups[a].sum, groups[b].sum), a, b);
    std::sort(pairs.begin(), pairs.end());
    std::vector<bool> taken(groups.size());
    std::vector<Group> paired;
    for (const auto& [square, a, b] : pairs) {
        if (taken[a] || taken[b]) continue;
        taken[a] = taken[b] = true;
        paired.push_back(joined(groups[a], groups[b]));
    }
    return paired;
}

/// The new number of a group's r-th codeword: the bits that ByteTables drop, 4 and 5, tell its members apart.
size_t number(size_t group, size_t r) { return group % 16 + 16 * r + 64 * (group / 16); }

/// Every codeword's number; of more than 256 codewords the most alike share one, fewer keep theirs.
std::vector<uint8_t> numbers_of(const Quantizer::Base& base, size_t d) {
    std::vector<uint8_t> numbers(base.K);
    if (base.nbits < 8) {
        std::iota(numbers.begin(), numbers.end(), uint8_t{0});
        return numbers;
    }
    std::vector<Group> groups;
    for (size_t k = 0; k < base.K; k++)
        groups.push_back(
            {{k}, {base.rows.begin() + ptrdiff_t(k * d), base.rows.begin() + ptrdiff_t((k + 1) * d)}});
    const int shared_bits = base.nbits - 8;
    for (int round = 0; round < shared_bits + kDropped; round++) groups = pair_up(groups);
    for (size_t g = 0; g < groups.size(); g++)
        for (size_t r = 0; r < groups[g].members.size(); r++)
            numbers[groups[g].members[r]] = uint8_t(number(g, r >> shared_bits));
    return numbers;
}

/// The base with its codewords in the order of their numbers.
void reorder(Quantizer::Base& base, size_t d, const std::vector<uint8_t>& numbers) {
    const Quantizer::Base from = base;
    for (size_t k = 0; k < base.K; k++) {
        std::copy_n(&from.rows[k * d], d, &base.rows[numbers[k] * d]);
        for (size_t j = 0; j < base.depth(); j++)
            base.columns[j * base.stride + numbers[k]] = from.columns[j * base.stride + k];
    }
}

}  // namespace

bool can_renumber(const Quantizer& quantizer) {
    const int widest = quantizer.max_nbits(quantizer.levels());
    return widest == 8 || (widest > 8 && widest <= kWidest && quantizer.all_have(quantizer.levels(), widest));
}

bool renumbering_pays(const isa::Kernels& kernels, const Quantizer& quantizer, size_t n) {
    if (!can_renumber(quantizer)) return false;
    return quantizer.max_nbits(quantizer.levels()) > 8 ? kernels.score_bytes != nullptr
                                                       : n >= kFewestQueries && kernels.bounds_pay;
}

size_t renumbering_work(const Quantizer& quantizer) {
    size_t work = 0;
    for (const Quantizer::Base& base : quantizer.bases) {
        const size_t per_pair = base.nbits > 8 ? 1 : 64;  // wide codes are compared without kernels
        if (base.nbits >= 8) work += base.K * base.K * per_pair;
    }
    return work;
}

Renumbered::Renumbered(const Quantizer& original) : quantizer(original) {
    for (Quantizer::Base& base : quantizer.bases) {
        new_bytes.push_back(numbers_of(base, original.d));
        if (base.nbits == 8) reorder(base, original.d, new_bytes.back());
    }
}

}  // namespace drq
