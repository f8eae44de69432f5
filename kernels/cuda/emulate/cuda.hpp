// CUDA's language and run time as plain C++, so that the kernels run on a machine without a GPU.
//
// Every .cu file also compiles with `g++ -x c++ -std=c++17 -O2 -DTALLOW_EMULATE`. Blocks run one after another, the
// threads of a block as fibers: a thread runs until it must wait for others. Nothing here is fast; it shows that a kernel
// computes what it should, in any order of its threads, and touches no memory that is not its own.
//
// Contract of a launch: `extern "C" __global__` kernels over plain pointers and scalars, each followed by
// `TALLOW_KERNEL(name)`, which registers it for `tallow_emulate` (run.cpp). Shared memory holds NaN when a block starts
// (dynamic) or what the block before left (static).
#pragma once

#include <cassert>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <type_traits>
#include <utility>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))
#define __constant__ static
#define __shared__ static
#define __grid_constant__
#define __builtin_assume(condition) ((void)0)

// Dynamic shared memory: `T* name` at its start.
#define TALLOW_DYNAMIC_SHARED(T, name) T* name = reinterpret_cast<T*>(::emulate::dynamic_shared())

#define TALLOW_KERNEL(name)                                                                                      \
    static const ::emulate::Registered name##_registered(#name, ::emulate::Thunk<decltype(&name)>::sizes(),      \
                                                         [](void** args) { ::emulate::Thunk<decltype(&name)>::call(&name, args); });

#include "types.hpp"

// The coordinates of the thread that runs now; the scheduler sets them at each switch.
extern dim3 threadIdx, blockIdx, blockDim, gridDim;
constexpr int warpSize = 32;

namespace emulate {

using Launcher = void (*)(void** args);

// The byte sizes of a kernel's parameters.
struct Sizes {
    unsigned count;
    unsigned char bytes[48];
};

struct Registered {
    Registered(const char* name, Sizes sizes, Launcher launcher);
};

template <class F>
struct Thunk;

template <class... A>
struct Thunk<void (*)(A...)> {
    static_assert(sizeof...(A) <= 48, "too many parameters");
    static_assert((std::is_trivially_copyable<A>::value && ...), "kernels take plain pointers and scalars");
    static Sizes sizes() { return Sizes{sizeof...(A), {static_cast<unsigned char>(sizeof(A))...}}; }
    static void call(void (*kernel)(A...), void** args) { call(kernel, args, std::index_sequence_for<A...>()); }

  private:
    template <size_t... I>
    static void call(void (*kernel)(A...), void** args, std::index_sequence<I...>) {
        kernel(*static_cast<A*>(args[I])...);
    }
};

void* dynamic_shared();
// Ends the launch with a message that names the kernel, block and thread.
[[noreturn]] void fail(const char* what);

}  // namespace emulate

#include "math.hpp"
#include "warp.hpp"
