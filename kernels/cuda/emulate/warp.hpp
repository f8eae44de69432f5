// What threads do together: barriers, shuffles and votes, and the matrix instructions of a warp.
//
// A collective gathers one packet from every lane of its mask; the last lane to come computes all results. Lanes of one
// mask that stand at different instructions are a fault, as is a wait that can never end.
#pragma once

namespace emulate {

enum class Op : unsigned { SyncWarp, Shuffle, Ballot, Match, Reduce, LoadMatrix, Mma };

// One lane's part in a collective: what it brings, and the place for what it takes.
struct Packet {
    unsigned lane;
    const void* in;
    void* out;
};

using Compute = void (*)(Packet* packets, unsigned mask, const void* common);

// Waits for every lane of `mask`, then `compute` has run once over all packets (indexed by lane).
void collective(Op op, unsigned mask, const void* in, void* out, Compute compute, const void* common = nullptr);
void barrier(unsigned id, unsigned threads);
int barrier_vote(int predicate, int kind);
unsigned lane();

void copy_async(void* to, const void* from, unsigned bytes, unsigned valid);
void copy_commit();
void copy_wait(unsigned still_pending);

// The address counts as shared memory's: 16-byte rows of 8 lanes that share a bank are counted as conflicts.
void count_bank_conflicts(const void* const* rows);

template <class T>
struct ShuffleIn {
    T value;
    int source;
};

template <class T>
inline T shuffle(unsigned mask, T value, int source) {
    const ShuffleIn<T> in{value, source};
    T out = value;
    collective(Op::Shuffle, mask, &in, &out, [](Packet* p, unsigned mask, const void*) {
        for (int i = 0; i < 32; i++) {
            if (!(mask >> i & 1u)) continue;
            const int from = static_cast<const ShuffleIn<T>*>(p[i].in)->source;
            if (!(mask >> from & 1u)) fail("a shuffle reads a lane outside its mask");
            *static_cast<T*>(p[i].out) = static_cast<const ShuffleIn<T>*>(p[from].in)->value;
        }
    });
    return out;
}

inline unsigned ballot(unsigned mask, bool predicate) {
    unsigned out = 0;
    collective(Op::Ballot, mask, &predicate, &out, [](Packet* p, unsigned mask, const void*) {
        unsigned all = 0;
        for (int i = 0; i < 32; i++)
            if (mask >> i & 1u && *static_cast<const bool*>(p[i].in)) all |= 1u << i;
        for (int i = 0; i < 32; i++)
            if (mask >> i & 1u) *static_cast<unsigned*>(p[i].out) = all;
    });
    return out;
}

enum class Fold { Add, Min, Max, And, Or, Xor };

template <class T, Fold F>
inline T reduce(unsigned mask, T value) {
    T out = value;
    collective(Op::Reduce, mask, &value, &out, [](Packet* p, unsigned mask, const void*) {
        bool first = true;
        T all{};
        for (int i = 0; i < 32; i++) {
            if (!(mask >> i & 1u)) continue;
            const T v = *static_cast<const T*>(p[i].in);
            if (first) all = v;
            else if (F == Fold::Add) all = all + v;
            else if (F == Fold::Min) all = v < all ? v : all;
            else if (F == Fold::Max) all = all < v ? v : all;
            else if (F == Fold::And) all = all & v;
            else if (F == Fold::Or) all = all | v;
            else all = all ^ v;
            first = false;
        }
        for (int i = 0; i < 32; i++)
            if (mask >> i & 1u) *static_cast<T*>(p[i].out) = all;
    });
    return out;
}

// ldmatrix .x1 / .x2 / .x4: matrix m of 8 rows of 16 bytes is addressed by lanes 8m .. 8m + 7. Lane l receives the 16-bit
// elements (l / 4, 2 (l % 4)) and the one after it, or, transposed, (2 (l % 4), l / 4) and the one below it.
void load_matrix(unsigned* registers, const void* row, unsigned count, bool transposed);

// mma.m16n8k16, row x column, bf16 inputs, f32 accumulators: d = a b + d in PTX's fragment layout.
void mma_bf16(float* d, const unsigned* a, const unsigned* b);

// wgmma.m64nNk16 over bf16: d [64, N] = a b (+ d). A warp's 16 rows of a are fragments in registers, or lie in shared memory;
// matrices there are named by descriptors (128-byte swizzle only). Sums appear, and operands are read, at any time between
// the call and the wait that ends its group: at once under odd seeds, as late as allowed under even ones.
void warpgroup_product(float* d, unsigned n, const unsigned* a, unsigned long long a_descriptor, unsigned long long b_descriptor,
                       bool b_transposed, bool keep);
void warpgroup_commit();
void warpgroup_wait(unsigned still_pending);
// Forgets what an earlier block left.
void warpgroup_reset();
// The number of the warp that runs, and whether asynchronous work is done as late as allowed.
unsigned warp();
bool late();
// A place in dynamic shared memory as a shared address, which must be aligned as the matrices are.
unsigned shared_offset(const void* p);

}  // namespace emulate

inline void __syncthreads() { emulate::barrier(0, 0); }
inline int __syncthreads_or(int predicate) { return emulate::barrier_vote(predicate, 0); }
inline int __syncthreads_and(int predicate) { return emulate::barrier_vote(predicate, 1); }
inline int __syncthreads_count(int predicate) { return emulate::barrier_vote(predicate, 2); }
inline void __syncwarp(unsigned mask = 0xffffffffu) {
    emulate::collective(emulate::Op::SyncWarp, mask, nullptr, nullptr, [](emulate::Packet*, unsigned, const void*) {});
}
inline unsigned __activemask() { return 0xffffffffu; }

template <class T>
inline T __shfl_sync(unsigned mask, T value, int source, int width = 32) {
    const int lane = static_cast<int>(emulate::lane());
    return emulate::shuffle(mask, value, (lane & ~(width - 1)) | (source & (width - 1)));
}
template <class T>
inline T __shfl_xor_sync(unsigned mask, T value, int lanes, int width = 32) {
    const int lane = static_cast<int>(emulate::lane()), source = lane ^ lanes;
    return emulate::shuffle(mask, value, source / width > lane / width ? lane : source);
}
template <class T>
inline T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32) {
    const int lane = static_cast<int>(emulate::lane()), source = lane + static_cast<int>(delta);
    return emulate::shuffle(mask, value, source / width != lane / width ? lane : source);
}
template <class T>
inline T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32) {
    const int lane = static_cast<int>(emulate::lane()), source = lane - static_cast<int>(delta);
    return emulate::shuffle(mask, value, source < (lane & ~(width - 1)) ? lane : source);
}
inline unsigned __ballot_sync(unsigned mask, int predicate) { return emulate::ballot(mask, predicate != 0); }
inline int __any_sync(unsigned mask, int predicate) { return emulate::ballot(mask, predicate != 0) != 0; }
inline int __all_sync(unsigned mask, int predicate) { return emulate::ballot(mask, predicate == 0) == 0; }
inline unsigned __reduce_add_sync(unsigned mask, unsigned v) { return emulate::reduce<unsigned, emulate::Fold::Add>(mask, v); }
inline int __reduce_add_sync(unsigned mask, int v) { return emulate::reduce<int, emulate::Fold::Add>(mask, v); }
inline unsigned __reduce_min_sync(unsigned mask, unsigned v) { return emulate::reduce<unsigned, emulate::Fold::Min>(mask, v); }
inline int __reduce_min_sync(unsigned mask, int v) { return emulate::reduce<int, emulate::Fold::Min>(mask, v); }
inline unsigned __reduce_max_sync(unsigned mask, unsigned v) { return emulate::reduce<unsigned, emulate::Fold::Max>(mask, v); }
inline int __reduce_max_sync(unsigned mask, int v) { return emulate::reduce<int, emulate::Fold::Max>(mask, v); }
inline unsigned __reduce_and_sync(unsigned mask, unsigned v) { return emulate::reduce<unsigned, emulate::Fold::And>(mask, v); }
inline unsigned __reduce_or_sync(unsigned mask, unsigned v) { return emulate::reduce<unsigned, emulate::Fold::Or>(mask, v); }
inline unsigned __reduce_xor_sync(unsigned mask, unsigned v) { return emulate::reduce<unsigned, emulate::Fold::Xor>(mask, v); }
