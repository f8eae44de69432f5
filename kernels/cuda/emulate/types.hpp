// Vector types, bf16 and f16, with CUDA's names and rounding.
#pragma once

struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

#define EMULATE_VECTORS(T, base)                                                                                          \
    struct base##1 { T x; };                                                                                              \
    struct alignas(2 * sizeof(T)) base##2 { T x, y; };                                                                    \
    struct base##3 { T x, y, z; };                                                                                        \
    struct alignas(4 * sizeof(T) > 16 ? 16 : 4 * sizeof(T)) base##4 { T x, y, z, w; };                                    \
    inline base##2 make_##base##2(T x, T y) { return {x, y}; }                                                            \
    inline base##3 make_##base##3(T x, T y, T z) { return {x, y, z}; }                                                    \
    inline base##4 make_##base##4(T x, T y, T z, T w) { return {x, y, z, w}; }

EMULATE_VECTORS(float, float)
EMULATE_VECTORS(double, double)
EMULATE_VECTORS(int, int)
EMULATE_VECTORS(unsigned, uint)
EMULATE_VECTORS(short, short)
EMULATE_VECTORS(unsigned short, ushort)
EMULATE_VECTORS(signed char, char)
EMULATE_VECTORS(unsigned char, uchar)
EMULATE_VECTORS(long long, longlong)
EMULATE_VECTORS(unsigned long long, ulonglong)
#undef EMULATE_VECTORS

namespace emulate {

template <class To, class From>
inline To bits(From from) {
    static_assert(sizeof(To) == sizeof(From), "sizes differ");
    To to;
    memcpy(&to, &from, sizeof to);
    return to;
}

// Round to nearest, ties to even; NaN becomes CUDA's canonical NaN.
inline unsigned short bf16_bits(float x) {
    if (x != x) return 0x7fff;
    const unsigned u = bits<unsigned>(x);
    return static_cast<unsigned short>((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
}

inline float bf16_value(unsigned short b) { return bits<float>(static_cast<unsigned>(b) << 16); }

inline unsigned short half_bits(float x) {
    if (x != x) return 0x7fff;
    const unsigned u = bits<unsigned>(x), sign = (u >> 16) & 0x8000u;
    const float a = fabsf(x);
    if (a >= 65520.0f) return static_cast<unsigned short>(sign | 0x7c00u);
    if (a < 6.103515625e-05f) return static_cast<unsigned short>(sign | static_cast<unsigned>(nearbyintf(a * 16777216.0f)));
    const unsigned v = u & 0x7fffffffu;
    return static_cast<unsigned short>(sign | ((v - 0x38000000u + 0xfffu + ((v >> 13) & 1u)) >> 13));
}

inline float half_value(unsigned short h) {
    const unsigned sign = static_cast<unsigned>(h & 0x8000u) << 16, exponent = (h >> 10) & 31u, mantissa = h & 1023u;
    if (exponent == 0) return bits<float>(sign) + (sign ? -1.0f : 1.0f) * static_cast<float>(mantissa) * 5.9604644775390625e-08f;
    if (exponent == 31) return bits<float>(sign | 0x7f800000u | mantissa << 13);
    return bits<float>(sign | (exponent + 112u) << 23 | mantissa << 13);
}

}  // namespace emulate

#define EMULATE_SHORT_FLOAT(T, word, raw)                                                                     \
    struct raw { unsigned short x; };                                                                         \
    struct T {                                                                                                \
        unsigned short __x;                                                                                   \
        T() = default;                                                                                        \
        T(float f) : __x(emulate::word##_bits(f)) {}                                                          \
        T(double f) : T(static_cast<float>(f)) {}                                                             \
        T(int f) : T(static_cast<float>(f)) {}                                                                \
        T(raw r) : __x(r.x) {}                                                                                \
        operator float() const { return emulate::word##_value(__x); }                                         \
        operator raw() const { return raw{__x}; }                                                             \
    };

EMULATE_SHORT_FLOAT(__nv_bfloat16, bf16, __nv_bfloat16_raw)
EMULATE_SHORT_FLOAT(__half, half, __half_raw)
#undef EMULATE_SHORT_FLOAT

#define EMULATE_SHORT_PAIR(T, T2, one, pair, word)                                                            \
    struct alignas(4) T2 {                                                                                    \
        T x, y;                                                                                               \
    };                                                                                                        \
    inline T __float2##one(float f) { return T(f); }                                                          \
    inline T __float2##one##_rn(float f) { return T(f); }                                                     \
    inline float __##one##2float(T h) { return float(h); }                                                    \
    inline T2 __float2##pair##_rn(float f) { return {T(f), T(f)}; }                                           \
    inline T2 __floats2##pair##_rn(float a, float b) { return {T(a), T(b)}; }                                 \
    inline T2 __float22##pair##_rn(float2 f) { return {T(f.x), T(f.y)}; }                                     \
    inline float2 __##pair##2float2(T2 h) { return {float(h.x), float(h.y)}; }                                \
    inline float __low2float(T2 h) { return float(h.x); }                                                     \
    inline float __high2float(T2 h) { return float(h.y); }                                                    \
    inline T __low2##one(T2 h) { return h.x; }                                                                \
    inline T __high2##one(T2 h) { return h.y; }                                                               \
    inline T2 __halves2##pair(T a, T b) { return {a, b}; }                                                    \
    inline unsigned short __##one##_as_ushort(T h) { return h.__x; }                                          \
    inline T __ushort_as_##one(unsigned short u) { return emulate::bits<T>(u); }

EMULATE_SHORT_PAIR(__nv_bfloat16, __nv_bfloat162, bfloat16, bfloat162, bf16)
EMULATE_SHORT_PAIR(__half, __half2, half, half2, half)
#undef EMULATE_SHORT_PAIR

using nv_bfloat16 = __nv_bfloat16;
using nv_bfloat162 = __nv_bfloat162;
using half = __half;
using half2 = __half2;
