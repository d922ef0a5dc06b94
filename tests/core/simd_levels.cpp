// Runs every SIMD level of the core against the scalar one, without Python and FAISS: for emulators, and for
// machines that only have a compiler. Prints one line per level and exits with 1 on the first difference. An
// argument N takes one of N cases.
#include <cstdio>
#include <string>
#include <vector>

#include "everything.h"

using namespace drq;
using namespace drq::tests;

namespace {

std::vector<Case> all_cases() {
    std::vector<Case> cases;
    for (const size_t n : {1, 63, 700, 3001})
        for (const size_t levels : {1, 4, 5, 8, 12, 16, 19})
            for (const int nbits : {4, 5, 6, 7, 8, 8})
                cases.push_back(
                    {n, levels, 7, nbits, (n + levels) % 2 == 0, n == 700, levels == 5, nbits == 7});
    for (const size_t levels : {4, 8, 16, 24}) {
        cases.push_back({3001, levels, 33, 8, true, false, false, 0});
        cases.push_back({3001, levels, 33, 8, true, true, true, 1});
        cases.push_back({3001, levels, 33, 8, false, true, false, 0});
        cases.push_back({9001, levels, 7, 8, levels == 8, false, false, 0});  // few enough results for bounds
    }
    for (const int nbits : {9, 10, 11})
        for (const size_t levels : {1, 6, 7})
            for (const bool shared : {false, true})
                cases.push_back({3001, levels, 7, nbits, shared, nbits == 10, levels == 6, nbits == 9});
    return cases;
}

}  // namespace

int main(int arguments, char** argument) {
    const size_t step = arguments > 1 ? std::stoul(argument[1]) : 1;
    const std::vector<Case> all = all_cases();
    std::vector<Case> cases;
    for (size_t i = 0; i < all.size(); i += step) cases.push_back(all[i]);
    size_t compared = 0;
    for (int level = 1; level <= int(isa::best_target()); level++) {
        std::mt19937 random(1);
        for (const Case& c : cases) {
            const Data data = make(c, random);
            isa::set_target(isa::Target::Scalar);
            const std::vector<uint8_t> expected = results(c, data, Caches(data), Executor());
            isa::set_target(isa::Target(level));
            compared++;
            if (results(c, data, Caches(data), Executor()) == expected) continue;
            std::printf("%s differs from scalar: n %zu, %zu levels of %d bits, d %zu, shared %d\n",
                        isa::target_name(isa::Target(level)), c.n, c.levels, c.nbits, c.d, c.shared);
            return 1;
        }
        std::printf("%s equals scalar in %zu cases\n", isa::target_name(isa::Target(level)), cases.size());
    }
    return compared > 0 ? 0 : 1;
}
