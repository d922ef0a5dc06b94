// Runs a fuzz target on the files it is given and on inputs of random bytes, with any compiler:
//     program NUMBER FILE …
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

int main(int arguments, char** argument) {
    const size_t drawn = arguments > 1 ? std::stoul(argument[1]) : 0;
    for (int i = 2; i < arguments; i++) {
        std::ifstream file(argument[i], std::ios::binary);
        const std::vector<char> input{std::istreambuf_iterator<char>(file), {}};
        std::fprintf(stderr, "%s\n", argument[i]);
        LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(input.data()), input.size());
    }
    std::mt19937 random(1);
    for (size_t i = 0; i < drawn; i++) {
        std::vector<uint8_t> input(32 + random() % 200);
        for (uint8_t& byte : input) byte = uint8_t(random());
        LLVMFuzzerTestOneInput(input.data(), input.size());
    }
    std::printf("%d files and %zu random inputs: no finding\n", arguments > 2 ? arguments - 2 : 0, drawn);
    return 0;
}
