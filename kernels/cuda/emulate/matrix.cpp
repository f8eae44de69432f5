// The matrix instructions of a warp, in the fragment layouts of the PTX manual (mma.m16n8k16, ldmatrix).

#include <deque>
#include <vector>

#include "cuda.hpp"

namespace emulate {
namespace {

struct RowIn {
    const void* row;
};

struct MmaIn {
    const unsigned* a;
    const unsigned* b;
};

float low(unsigned pair) { return bits<float>(pair << 16); }
float high(unsigned pair) { return bits<float>(pair & 0xffff0000u); }

template <bool Transposed>
void load_matrices(Packet* p, unsigned mask, const void* common) {
    const unsigned count = *static_cast<const unsigned*>(common);
    if (mask != 0xffffffffu) fail("ldmatrix needs all lanes");
    for (unsigned m = 0; m < count; m++) {
        const void* rows[8];
        for (unsigned i = 0; i < 8; i++) {
            rows[i] = static_cast<const RowIn*>(p[8 * m + i].in)->row;
            if (reinterpret_cast<uintptr_t>(rows[i]) % 16) fail("ldmatrix: a row is not aligned to 16 bytes");
        }
        count_bank_conflicts(rows);
        unsigned short x[8][8];
        for (unsigned i = 0; i < 8; i++) memcpy(x[i], rows[i], 16);
        for (unsigned l = 0; l < 32; l++) {
            const unsigned g = l / 4, t = 2 * (l % 4);
            const unsigned first = Transposed ? x[t][g] : x[g][t], second = Transposed ? x[t + 1][g] : x[g][t + 1];
            static_cast<unsigned*>(p[l].out)[m] = first | second << 16;
        }
    }
}

void multiply(Packet* p, unsigned mask, const void*) {
    if (mask != 0xffffffffu) fail("mma needs all lanes");
    float a[16][16], b[16][8], d[16][8];
    for (unsigned l = 0; l < 32; l++) {
        const unsigned g = l / 4, t = 2 * (l % 4);
        const MmaIn& in = *static_cast<const MmaIn*>(p[l].in);
        const float* c = static_cast<const float*>(p[l].out);
        for (unsigned i = 0; i < 4; i++) {
            const unsigned row = g + 8 * (i % 2), column = t + 8 * (i / 2);
            a[row][column] = low(in.a[i]);
            a[row][column + 1] = high(in.a[i]);
        }
        for (unsigned i = 0; i < 2; i++) {
            b[t + 8 * i][g] = low(in.b[i]);
            b[t + 8 * i + 1][g] = high(in.b[i]);
        }
        for (unsigned i = 0; i < 4; i++) d[g + 8 * (i / 2)][t + i % 2] = c[i];
    }
    for (unsigned r = 0; r < 16; r++)
        for (unsigned k = 0; k < 16; k++)
            for (unsigned c = 0; c < 8; c++) d[r][c] += a[r][k] * b[k][c];
    for (unsigned l = 0; l < 32; l++)
        for (unsigned i = 0; i < 4; i++) static_cast<float*>(p[l].out)[i] = d[l / 4 + 8 * (i / 2)][2 * (l % 4) + i % 2];
}

// One lane's part of a wgmma.
struct ProductIn {
    float* d;
    const unsigned* a;
    unsigned long long a_descriptor, b_descriptor;
    unsigned n;
    bool b_transposed, keep;
};

struct WarpProduct {
    unsigned warp;
    ProductIn lanes[32];
};

struct WarpQueue {
    std::deque<std::vector<WarpProduct>> groups;
    std::vector<WarpProduct> open;
};
WarpQueue queues[32];

unsigned long long field(unsigned long long descriptor, unsigned at) { return (descriptor >> at & 0x3fffu) << 4; }

float element(unsigned long long at) {
    at ^= (at >> 7 & 7u) << 4;
    unsigned short x;
    memcpy(&x, static_cast<const char*>(dynamic_shared()) + at, 2);
    return bf16_value(x);
}

// Element (r, k) of a matrix whose rows are k's direction, and (k, n) of one that is stored the other way.
float along(unsigned long long descriptor, unsigned r, unsigned k) {
    return element(field(descriptor, 0) + r / 8 * field(descriptor, 32) + r % 8 * 128 + k * 2);
}
float across(unsigned long long descriptor, unsigned k, unsigned n) {
    return element(field(descriptor, 0) + n / 64 * field(descriptor, 16) + n % 64 * 2 + k / 8 * field(descriptor, 32) + k % 8 * 128);
}

void perform(const WarpProduct& p) {
    const ProductIn& first = p.lanes[0];
    std::vector<float> b(16 * first.n);
    for (unsigned k = 0; k < 16; k++)
        for (unsigned n = 0; n < first.n; n++) b[k * first.n + n] = first.b_transposed ? across(first.b_descriptor, k, n) : along(first.b_descriptor, n, k);
    float a[16][16];
    for (unsigned l = 0; l < 32; l++)
        for (unsigned i = 0; i < 4; i++) {
            const unsigned row = l / 4 + 8 * (i % 2), column = 2 * (l % 4) + 8 * (i / 2);
            for (unsigned e = 0; e < 2; e++) {
                const unsigned* registers = p.lanes[l].a;
                a[row][column + e] = registers ? (e ? high(registers[i]) : low(registers[i])) : along(first.a_descriptor, p.warp % 4 * 16 + row, column + e);
            }
        }
    for (unsigned l = 0; l < 32; l++)
        for (unsigned i = 0; i < first.n / 2; i++) {
            const unsigned row = l / 4 + 8 * (i / 2 % 2), column = i / 4 * 8 + 2 * (l % 4) + i % 2;
            float sum = first.keep ? p.lanes[l].d[i] : 0.0f;
            for (unsigned k = 0; k < 16; k++) sum += a[row][k] * b[k * first.n + column];
            p.lanes[l].d[i] = sum;
        }
}

}  // namespace

void warpgroup_product(float* d, unsigned n, const unsigned* a, unsigned long long a_descriptor, unsigned long long b_descriptor,
                       bool b_transposed, bool keep) {
    if (b_descriptor >> 62 != 1 || (!a && a_descriptor >> 62 != 1)) fail("wgmma: only the 128-byte swizzle is emulated");
    const ProductIn in{d, a, a_descriptor, b_descriptor, n, b_transposed, keep};
    collective(Op::Mma, 0xffffffffu, &in, nullptr, [](Packet* p, unsigned, const void*) {
        WarpProduct product;
        product.warp = warp();
        for (unsigned l = 0; l < 32; l++) product.lanes[l] = *static_cast<const ProductIn*>(p[l].in);
        if (late()) queues[warp()].open.push_back(product);
        else perform(product);
    });
}

void warpgroup_commit() {
    collective(Op::SyncWarp, 0xffffffffu, nullptr, nullptr, [](Packet*, unsigned, const void*) {
        WarpQueue& q = queues[warp()];
        q.groups.push_back(std::move(q.open));
        q.open.clear();
    });
}

void warpgroup_wait(unsigned still_pending) {
    collective(Op::SyncWarp, 0xffffffffu, nullptr, nullptr, [](Packet*, unsigned, const void* pending) {
        WarpQueue& q = queues[warp()];
        while (q.groups.size() > *static_cast<const unsigned*>(pending)) {
            for (const WarpProduct& p : q.groups.front()) perform(p);
            q.groups.pop_front();
        }
    }, &still_pending);
}

void warpgroup_reset() {
    for (WarpQueue& q : queues) q = WarpQueue{};
}

unsigned shared_offset(const void* p) {
    if (reinterpret_cast<uintptr_t>(dynamic_shared()) % 1024) fail("matrices of wgmma need shared memory aligned to 1024 bytes");
    return static_cast<unsigned>(static_cast<const char*>(p) - static_cast<const char*>(dynamic_shared()));
}

void load_matrix(unsigned* registers, const void* row, unsigned count, bool transposed) {
    const RowIn in{row};
    collective(Op::LoadMatrix, 0xffffffffu, &in, registers, transposed ? load_matrices<true> : load_matrices<false>, &count);
}

void mma_bf16(float* d, const unsigned* a, const unsigned* b) {
    const MmaIn in{a, b};
    collective(Op::Mma, 0xffffffffu, &in, d, multiply);
}

}  // namespace emulate
