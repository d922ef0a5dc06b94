// Searches an index file, written by Python or C++, at every code length: search INDEX [QUERIES]
#include <drqfaiss/IndexDRQ.h>

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <random>
#include <vector>

int main(int argc, char** argv) try {
    if (argc < 2) {
        std::fprintf(stderr, "usage: %s INDEX [QUERIES]\n", argv[0]);
        return 2;
    }
    const auto index = drqfaiss::read_index(argv[1]);
    const int64_t n = argc > 2 ? std::atoll(argv[2]) : 3, k = 5;
    std::printf("%lld vectors, d = %d, %zu levels\n", (long long)index->ntotal, int(index->d), index->rq.M);

    std::mt19937 random(0);
    std::normal_distribution<float> normal;
    std::vector<float> x(size_t(n) * index->d);
    for (float& value : x) value = normal(random);

    std::vector<float> distances(n * k);
    std::vector<int64_t> ids(n * k);
    drqfaiss::SearchParametersDRQ parameters;
    for (parameters.levels = 1; parameters.levels <= index->rq.M; parameters.levels++) {
        index->search(n, x.data(), k, distances.data(), ids.data(), &parameters);
        std::printf("%zu levels:", parameters.levels);
        for (int64_t j = 0; j < k; j++) std::printf("  %lld (%.4g)", (long long)ids[j], distances[j]);
        std::printf("\n");
    }
} catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
}
