// Cross-entropy over a chunk of logits [rows, vocab], T is f32 or bf16, computed in f32; the gradient takes the logits' place.
//
// cross_entropy:     losses[row] = log sum exp(logits) - logits[target], in nats; correct[row] = 1 where the target is the
//                    first of the greatest logits; with `gradient`, logits = (softmax - onehot) * grad_scale * weight.
//                    A negative target: loss 0, correct 0, gradient 0. An infinite or NaN logit gives a NaN loss.
//                    weights may be null (all 1). Grid (rows), blocks of 512 threads: the row is read once for its maximum
//                    and sum, and once more, from the cache, for the gradient.
// cross_entropy_sum: totals += {sum of weight * loss, rows with a target, correct rows}, f64; one block of 256 threads,
//                    always in the same order.
#include "mma.cuh"

namespace tallow {

constexpr int CE_THREADS = 512;

// e^x: exact to f32 for f32 logits, one instruction for bf16.
template <typename T> __device__ __forceinline__ float exponential(float x);
template <> __device__ __forceinline__ float exponential<float>(float x) { return expf(x); }
template <> __device__ __forceinline__ float exponential<bf16>(float x) { return exp2_fast(x * 1.4426950408889634f); }

// What part of a row holds: its maximum, where that stands first, and the sum of e^(x - max).
struct Mass {
    float max, sum;
    int at;
};

template <typename T> __device__ __forceinline__ Mass join(Mass a, Mass b) {
    const float max = fmaxf(a.max, b.max), base = max == -INFINITY ? 0.f : max;
    const bool first = a.max > b.max || (a.max == b.max && a.at < b.at);
    return {max, a.sum * exponential<T>(a.max - base) + b.sum * exponential<T>(b.max - base), first ? a.at : b.at};
}

template <typename T, int N> __device__ __forceinline__ void take(Mass& m, const float (&x)[N], int first) {
    float max = m.max;
#pragma unroll
    for (int j = 0; j < N; j++)
        if (x[j] > max) max = x[j], m.at = first + j;
    const float base = max == -INFINITY ? 0.f : max;
    float sum = m.sum * exponential<T>(m.max - base);
#pragma unroll
    for (int j = 0; j < N; j++) sum += exponential<T>(x[j] - base);
    m.max = max;
    m.sum = sum;
}

// The whole row's mass, in every thread.
template <typename T> __device__ __forceinline__ Mass row_mass(const T* row, int vocab, bool wide) {
    constexpr int N = LANES<T>, WARPS = CE_THREADS / WARP;
    __shared__ Mass masses[WARPS];
    Mass m = {-INFINITY, 0.f, vocab};
    if (wide) {
        for (int i = threadIdx.x * N; i < vocab; i += CE_THREADS * N) {
            float x[N];
            load(row + i, x);
            take<T>(m, x, i);
        }
    } else {
        for (int i = threadIdx.x; i < vocab; i += CE_THREADS) {
            const float x[1] = {up(row[i])};
            take<T>(m, x, i);
        }
    }
    for (int step = WARP / 2; step > 0; step /= 2) {
        const Mass other = {__shfl_xor_sync(ALL, m.max, step), __shfl_xor_sync(ALL, m.sum, step), __shfl_xor_sync(ALL, m.at, step)};
        // The lower lane's part comes first, so that all lanes agree to the bit.
        m = threadIdx.x & step ? join<T>(other, m) : join<T>(m, other);
    }
    if (threadIdx.x % WARP == 0) masses[threadIdx.x / WARP] = m;
    __syncthreads();
    m = masses[0];
    for (int w = 1; w < WARPS; w++) m = join<T>(m, masses[w]);
    return m;
}

template <typename T>
__device__ __forceinline__ void cross_entropy(T* logits, const int* targets, const float* weights, float* losses, u8* correct, int vocab,
                                              int gradient, float grad_scale) {
    constexpr int N = LANES<T>;
    T* row = logits + (u64)blockIdx.x * vocab;
    const int target = targets[blockIdx.x];
    const bool wide = vocab % N == 0 && aligned(logits);
    Mass m = {0.f, 1.f, 0};
    float factor = 0.f, wanted = 0.f;
    if (target >= 0) {
        wanted = up(row[target]);
        m = row_mass(row, vocab, wide);
        factor = grad_scale * (weights ? weights[blockIdx.x] : 1.f);
    }
    if (threadIdx.x == 0) {
        losses[blockIdx.x] = target < 0 ? 0.f : m.max == INFINITY ? NAN : m.max + logf(m.sum) - wanted;
        correct[blockIdx.x] = target >= 0 && m.at == target;
    }
    if (!gradient) return;
    const float inverse = factor / m.sum;
    // Every thread has read the target's logit before any writes: row_mass has a barrier.
    const auto change = [&](float x, int i) {
        if (target < 0) return 0.f;
        return exponential<T>(x - m.max) * inverse - (i == target ? factor : 0.f);
    };
    if (wide) {
        for (int i = threadIdx.x * N; i < vocab; i += CE_THREADS * N) {
            float x[N];
            load(row + i, x);
#pragma unroll
            for (int j = 0; j < N; j++) x[j] = change(x[j], i + j);
            store(row + i, x);
        }
    } else {
        for (int i = threadIdx.x; i < vocab; i += CE_THREADS) row[i] = down<T>(change(up(row[i]), i));
    }
}

} // namespace tallow

#define TALLOW_CROSS_ENTROPY(T, NAME)                                                                                                       \
    extern "C" __global__ void __launch_bounds__(tallow::CE_THREADS)                                                                        \
        cross_entropy_##NAME(T* logits, const int* targets, const float* weights, float* losses, unsigned char* correct, int vocab,         \
                             int gradient, float grad_scale) {                                                                              \
        tallow::cross_entropy(logits, targets, weights, losses, correct, vocab, gradient, grad_scale);                                      \
    }                                                                                                                                       \
    TALLOW_KERNEL(cross_entropy_##NAME)

TALLOW_CROSS_ENTROPY(float, f32)
TALLOW_CROSS_ENTROPY(tallow::bf16, bf16)

extern "C" __global__ void __launch_bounds__(256)
    cross_entropy_sum(const float* losses, const float* weights, const int* targets, const unsigned char* correct, int rows, double* totals) {
    __shared__ double parts[3][256];
    double loss = 0.0, tokens = 0.0, right = 0.0;
    for (int i = threadIdx.x; i < rows; i += 256) {
        if (targets[i] < 0) continue;
        loss += (double)losses[i] * (weights ? (double)weights[i] : 1.0);
        tokens += 1.0;
        right += correct[i];
    }
    parts[0][threadIdx.x] = loss, parts[1][threadIdx.x] = tokens, parts[2][threadIdx.x] = right;
    __syncthreads();
    for (int half = 128; half > 0; half /= 2) {
        if ((int)threadIdx.x < half)
            for (int k = 0; k < 3; k++) parts[k][threadIdx.x] += parts[k][threadIdx.x + half];
        __syncthreads();
    }
    if (threadIdx.x < 3) totals[threadIdx.x] += parts[threadIdx.x][0];
}
TALLOW_KERNEL(cross_entropy_sum)
