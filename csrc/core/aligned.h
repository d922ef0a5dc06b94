// Memory that begins at a cache line.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>
#include <vector>

namespace drq {

/// Allocates whole cache lines: no register of 64 bytes that is loaded from a multiple of its size lies in
/// two of them.
template <class T>
struct LineAllocator {
    using value_type = T;
    static constexpr size_t kLine = 64;

    LineAllocator() = default;
    template <class U>
    LineAllocator(const LineAllocator<U>&) {}

    T* allocate(size_t n) {
        if (n > SIZE_MAX / sizeof(T) - kLine) throw std::bad_alloc();
        void* memory = std::aligned_alloc(kLine, (n * sizeof(T) + kLine - 1) / kLine * kLine);
        if (!memory) throw std::bad_alloc();
        return static_cast<T*>(memory);
    }
    void deallocate(T* memory, size_t) { std::free(memory); }

    friend bool operator==(const LineAllocator&, const LineAllocator&) { return true; }
    friend bool operator!=(const LineAllocator&, const LineAllocator&) { return false; }
};

/// A vector that kernels read in whole registers.
template <class T>
using Lines = std::vector<T, LineAllocator<T>>;

struct FreeLines {
    void operator()(void* memory) const { std::free(memory); }
};

/// The same for numbers that nobody sets before they are needed.
template <class T>
using UnsetLines = std::unique_ptr<T[], FreeLines>;

template <class T>
UnsetLines<T> unset_lines(size_t n) {
    return UnsetLines<T>(LineAllocator<T>().allocate(n));
}

}  // namespace drq
