// The matrix instructions of a warp, in the fragment layouts of the PTX manual (mma.m16n8k16, ldmatrix).

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

}  // namespace

void load_matrix(unsigned* registers, const void* row, unsigned count, bool transposed) {
    const RowIn in{row};
    collective(Op::LoadMatrix, 0xffffffffu, &in, registers, transposed ? load_matrices<true> : load_matrices<false>, &count);
}

void mma_bf16(float* d, const unsigned* a, const unsigned* b) {
    const MmaIn in{a, b};
    collective(Op::Mma, 0xffffffffu, &in, d, multiply);
}

}  // namespace emulate
