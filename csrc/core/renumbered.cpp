#include "core/renumbered.h"

#include <algorithm>
#include <numeric>
#include <tuple>

namespace drq {

namespace {

constexpr size_t kFewestQueries = 16;
constexpr int kRounds = 2;  // bounds are for groups of up to four codewords

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

/// The base's codewords in the order of their new numbers.
std::vector<size_t> order_of(const Quantizer::Base& base, size_t d) {
    std::vector<Group> groups;
    for (size_t k = 0; k < base.K; k++)
        groups.push_back(
            {{k}, {base.rows.begin() + ptrdiff_t(k * d), base.rows.begin() + ptrdiff_t((k + 1) * d)}});
    for (int round = 0; round < kRounds; round++) groups = pair_up(groups);
    std::vector<size_t> order(base.K);
    for (size_t g = 0; g < groups.size(); g++)
        for (size_t r = 0; r < groups[g].members.size(); r++) order[number(g, r)] = groups[g].members[r];
    return order;
}

}  // namespace

bool renumbering_pays(const simd::Kernels& kernels, const Quantizer& quantizer, size_t n) {
    return n >= kFewestQueries && quantizer.all_levels_have(8) && kernels.bounds_pay;
}

Renumbered::Renumbered(const Quantizer& original) : quantizer(original) {
    const size_t d = original.d;
    for (size_t g = 0; g < original.bases.size(); g++) {
        const Quantizer::Base& from = original.bases[g];
        Quantizer::Base& to = quantizer.bases[g];
        const std::vector<size_t> order = order_of(from, d);
        std::vector<uint8_t> codes(from.K);
        for (size_t k = 0; k < order.size(); k++) {
            codes[order[k]] = uint8_t(k);
            std::copy_n(from.rows.begin() + ptrdiff_t(order[k] * d), d, to.rows.begin() + ptrdiff_t(k * d));
            for (size_t j = 0; j < d; j++)
                to.columns[j * to.stride + k] = from.columns[j * from.stride + order[k]];
        }
        new_codes.push_back(std::move(codes));
    }
}

}  // namespace drq
