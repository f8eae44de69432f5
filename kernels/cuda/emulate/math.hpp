// Intrinsics of one thread: mathematics, bits, atomics (one thread runs at a time, so they are plain), loads and fences.
#pragma once

inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
inline float __expf(float x) { return expf(x); }
inline float __logf(float x) { return logf(x); }
inline float __log2f(float x) { return log2f(x); }
inline float __sinf(float x) { return sinf(x); }
inline float __cosf(float x) { return cosf(x); }
inline float __powf(float x, float y) { return powf(x, y); }
inline float __tanhf(float x) { return tanhf(x); }
inline float __fdividef(float x, float y) { return x / y; }
inline float __fdiv_rn(float x, float y) { return x / y; }
inline float __frcp_rn(float x) { return 1.0f / x; }
inline float __fsqrt_rn(float x) { return sqrtf(x); }
inline float __frsqrt_rn(float x) { return 1.0f / sqrtf(x); }
inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __saturatef(float x) { return x > 0.0f ? fminf(x, 1.0f) : 0.0f; }
inline int __float2int_rn(float x) { return static_cast<int>(rintf(x)); }
inline int __float2int_rz(float x) { return static_cast<int>(x); }
inline int __float2int_rd(float x) { return static_cast<int>(floorf(x)); }
inline unsigned __float2uint_rn(float x) { return static_cast<unsigned>(rintf(x)); }
inline float __int2float_rn(int x) { return static_cast<float>(x); }
inline float __uint2float_rn(unsigned x) { return static_cast<float>(x); }

inline unsigned __float_as_uint(float x) { return emulate::bits<unsigned>(x); }
inline int __float_as_int(float x) { return emulate::bits<int>(x); }
inline float __uint_as_float(unsigned x) { return emulate::bits<float>(x); }
inline float __int_as_float(int x) { return emulate::bits<float>(x); }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __clz(int x) { return x ? __builtin_clz(static_cast<unsigned>(x)) : 32; }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline unsigned __umulhi(unsigned a, unsigned b) { return static_cast<unsigned>((static_cast<unsigned long long>(a) * b) >> 32); }
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return static_cast<unsigned long long>((static_cast<unsigned __int128>(a) * b) >> 64);
}
inline unsigned __brev(unsigned x) {
    unsigned r = 0;
    for (int i = 0; i < 32; i++) r |= ((x >> i) & 1u) << (31 - i);
    return r;
}
inline unsigned __byte_perm(unsigned a, unsigned b, unsigned selector) {
    const unsigned long long both = static_cast<unsigned long long>(b) << 32 | a;
    unsigned r = 0;
    for (int i = 0; i < 4; i++) {
        const unsigned s = (selector >> (4 * i)) & 15u;
        unsigned byte = static_cast<unsigned>(both >> (8 * (s & 7u))) & 255u;
        if (s & 8u) byte = byte & 128u ? 255u : 0u;
        r |= byte << (8 * i);
    }
    return r;
}
inline unsigned __funnelshift_l(unsigned low, unsigned high, unsigned shift) {
    return static_cast<unsigned>(((static_cast<unsigned long long>(high) << 32 | low) << (shift & 31u)) >> 32);
}
inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned shift) {
    return static_cast<unsigned>((static_cast<unsigned long long>(high) << 32 | low) >> (shift & 31u));
}

// CUDA has these for every mixture of arithmetic types.
template <class A, class B>
inline typename std::common_type<A, B>::type min(A a, B b) {
    using C = typename std::common_type<A, B>::type;
    return C(b) < C(a) ? C(b) : C(a);
}
template <class A, class B>
inline typename std::common_type<A, B>::type max(A a, B b) {
    using C = typename std::common_type<A, B>::type;
    return C(a) < C(b) ? C(b) : C(a);
}

template <class T>
struct EmulateSame {
    using type = T;
};
template <class T>
using emulate_same = typename EmulateSame<T>::type;

template <class T>
inline T emulate_exchange(T* at, T value) {
    const T old = *at;
    *at = value;
    return old;
}
template <class T>
inline T atomicAdd(T* at, emulate_same<T> v) { return emulate_exchange(at, T(*at + v)); }
template <class T>
inline T atomicSub(T* at, emulate_same<T> v) { return emulate_exchange(at, T(*at - v)); }
template <class T>
inline T atomicMax(T* at, emulate_same<T> v) { return emulate_exchange(at, *at < v ? v : *at); }
template <class T>
inline T atomicMin(T* at, emulate_same<T> v) { return emulate_exchange(at, v < *at ? v : *at); }
template <class T>
inline T atomicOr(T* at, emulate_same<T> v) { return emulate_exchange(at, T(*at | v)); }
template <class T>
inline T atomicAnd(T* at, emulate_same<T> v) { return emulate_exchange(at, T(*at & v)); }
template <class T>
inline T atomicExch(T* at, emulate_same<T> v) { return emulate_exchange(at, v); }
template <class T>
inline T atomicCAS(T* at, emulate_same<T> expected, emulate_same<T> v) { return emulate_exchange(at, *at == expected ? v : *at); }
inline unsigned atomicInc(unsigned* at, unsigned limit) { return emulate_exchange(at, *at >= limit ? 0u : *at + 1u); }

template <class T>
inline T __ldg(const T* p) { return *p; }
template <class T>
inline T __ldcs(const T* p) { return *p; }
template <class T>
inline T __ldcg(const T* p) { return *p; }
template <class T>
inline T __ldca(const T* p) { return *p; }
template <class T>
inline void __stcs(T* p, emulate_same<T> v) { *p = v; }
template <class T>
inline void __stcg(T* p, emulate_same<T> v) { *p = v; }
template <class T>
inline void __stwt(T* p, emulate_same<T> v) { *p = v; }

inline void __threadfence() {}
inline void __threadfence_block() {}
inline void __nanosleep(unsigned) {}
[[noreturn]] inline void __trap() { emulate::fail("__trap()"); }
