// The scheduler: runs a registered kernel over a grid, block by block, and reports what it does wrong.
//
//     int tallow_emulate(name, grid[3], block[3], shared_bytes, args)   0 when the launch ended well
//     const char* tallow_emulate_error()                               why it did not
//     int tallow_emulate_sizes(name, bytes, capacity)                  the byte sizes of a kernel's parameters; -1: no such kernel
//     size_t tallow_emulate_names(buffer, capacity)                    all kernels' names, one a line
//     void tallow_emulate_order(seed)                                  0: threads and blocks in order, 1: the last first, else shuffled,
//                                                                      and a warp goes as far as it can before another does; odd
//                                                                      seeds copy asynchronously at once, even ones as late as allowed
//     void* tallow_emulate_alloc(bytes), void tallow_emulate_free(at)  memory whose neighbours fault
//     size_t tallow_emulate_conflicts()                                16-byte rows of ldmatrix that waited for a bank, since the last call
//
// One launch at a time: the caller serialises.

#include <setjmp.h>
#include <signal.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "cuda.hpp"
#include "fiber.hpp"

dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace emulate {
namespace {

constexpr unsigned MAX_THREADS = 1024;
constexpr size_t MAX_SHARED = 227 << 10;
constexpr unsigned POISON = 0xff;

struct Kernel {
    Sizes sizes;
    Launcher launcher;
};

struct Copy {
    void* to;
    const void* from;
    unsigned bytes, valid;
};

enum class State { Ready, Barrier, Collective, Done };

struct Thread {
    Fiber fiber;
    dim3 index;
    unsigned number;
    State state;
    const char* waits_for;
    // Copies of groups that are committed, oldest first, and of the one that is open.
    std::vector<std::vector<Copy>> groups;
    std::vector<Copy> open;
};

// A collective that some lanes of its mask have reached.
struct Gathering {
    Op op;
    unsigned mask, arrived;
    Packet packets[32];
};

struct Barrier {
    unsigned arrived, wanted;
    int kind, any, all, count, result;
    std::vector<Thread*> waiting;
};

struct Machine {
    std::vector<std::unique_ptr<Thread>> threads;
    std::vector<std::vector<Gathering>> warps;
    Barrier barriers[16];
    Thread* now = nullptr;
    unsigned live = 0, count = 0;
    const Kernel* kernel = nullptr;
    const char* name = "";
    void** args = nullptr;
    char* shared = nullptr;
    unsigned seed = 0;
    size_t conflicts = 0;
    sigjmp_buf escape;
    std::string error;
};

Machine& machine() {
    static Machine m;
    return m;
}

std::map<std::string, Kernel>& kernels() {
    static std::map<std::string, Kernel> all;
    return all;
}

size_t page() { return static_cast<size_t>(sysconf(_SC_PAGESIZE)); }

// Memory that ends at a page that may not be touched and begins close behind another. `bytes` are counted in 16s.
struct Guarded {
    char* base = nullptr;
    size_t length = 0, bytes = 0;
    char* at = nullptr;

    explicit Guarded(size_t wanted) : bytes((wanted + 15) / 16 * 16) {
        const size_t p = page();
        length = (bytes + p - 1) / p * p + 2 * p;
        void* m = mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON, -1, 0);
        if (m == MAP_FAILED) __builtin_trap();
        base = static_cast<char*>(m);
        mprotect(base, p, PROT_NONE);
        mprotect(base + length - p, p, PROT_NONE);
        at = base + length - p - bytes;
        memset(base + p, POISON, length - 2 * p);
    }
    ~Guarded() { munmap(base, length); }
    Guarded(const Guarded&) = delete;
    // Whether the gap before the memory is as it was.
    bool intact() const { return std::all_of(base + page(), at, [](char c) { return static_cast<unsigned char>(c) == POISON; }); }
};

std::map<void*, std::unique_ptr<Guarded>>& allocations() {
    static std::map<void*, std::unique_ptr<Guarded>> all;
    return all;
}

std::unique_ptr<Guarded> shared_memory;

std::string where() {
    const Machine& m = machine();
    char text[256];
    snprintf(text, sizeof text, "%s<<<(%u,%u,%u),(%u,%u,%u)>>> block (%u,%u,%u)", m.name, gridDim.x, gridDim.y, gridDim.z, blockDim.x,
             blockDim.y, blockDim.z, blockIdx.x, blockIdx.y, blockIdx.z);
    std::string all = text;
    if (m.now) {
        snprintf(text, sizeof text, " thread (%u,%u,%u)", m.now->index.x, m.now->index.y, m.now->index.z);
        all += text;
    }
    return all + ": ";
}

std::string describe(const char* address) {
    char text[160];
    if (shared_memory && address >= shared_memory->base && address < shared_memory->base + shared_memory->length) {
        snprintf(text, sizeof text, "dynamic shared memory of %zu bytes touched at offset %td", shared_memory->bytes, address - shared_memory->at);
        return text;
    }
    for (const auto& a : allocations()) {
        const Guarded& g = *a.second;
        if (address >= g.base && address < g.base + g.length) {
            snprintf(text, sizeof text, "a buffer of %zu bytes touched at offset %td", g.bytes, address - g.at);
            return text;
        }
    }
    snprintf(text, sizeof text, "invalid address %p", static_cast<const void*>(address));
    return text;
}

void on_fault(int signal, siginfo_t* info, void*) {
    Machine& m = machine();
    m.error = where() + (signal == SIGFPE ? "integer division by zero" : describe(static_cast<const char*>(info->si_addr)));
    siglongjmp(m.escape, 1);
}

void wait_as(State state, const char* what) {
    Thread& t = *machine().now;
    t.state = state;
    t.waits_for = what;
    t.fiber.leave();
}

void release(Barrier& b) {
    for (Thread* t : b.waiting) t->state = State::Ready;
    b.waiting.clear();
    b.result = b.kind == 0 ? b.any : b.kind == 1 ? b.all : b.count;
    b.arrived = 0;
}

// The block's barrier does not wait for threads that have ended.
bool complete(const Barrier& b) { return b.arrived != 0 && b.arrived >= (b.wanted ? b.wanted : machine().live); }

void entry() {
    Machine& m = machine();
    m.kernel->launcher(m.args);
    Thread& t = *m.now;
    t.state = State::Done;
    m.live--;
    if (complete(m.barriers[0])) release(m.barriers[0]);
    t.fiber.leave();
}

void perform(const Copy& c) {
    memcpy(c.to, c.from, c.valid);
    memset(static_cast<char*>(c.to) + c.valid, 0, c.bytes - c.valid);
}

std::string stuck() {
    std::map<std::string, unsigned> waits;
    const Machine& m = machine();
    for (unsigned i = 0; i < m.count; i++)
        if (m.threads[i]->state != State::Done) waits[m.threads[i]->waits_for]++;
    std::string text = "threads wait for ever:";
    for (const auto& w : waits) text += " " + std::to_string(w.second) + " at " + w.first + ",";
    text += " " + std::to_string(m.count - m.live) + " have ended";
    return text;
}

std::vector<unsigned> permutation(unsigned n, unsigned seed, unsigned salt) {
    std::vector<unsigned> all(n);
    for (unsigned i = 0; i < n; i++) all[i] = seed == 1 ? n - 1 - i : i;
    if (seed > 1) std::shuffle(all.begin(), all.end(), std::mt19937(seed * 7919 + salt));
    return all;
}

// Lets every thread that can run (of one warp, or of all: ~0) run until it waits. False where none could.
bool run_once(const std::vector<unsigned>& order, unsigned warp) {
    Machine& m = machine();
    bool moved = false;
    for (unsigned i : order) {
        Thread& t = *m.threads[i];
        if (t.state != State::Ready || (warp != ~0u && i / 32 != warp)) continue;
        m.now = &t;
        threadIdx = t.index;
        t.fiber.enter();
        moved = true;
    }
    return moved;
}

void run_block(unsigned block, unsigned count) {
    Machine& m = machine();
    blockIdx = dim3(block % gridDim.x, block / gridDim.x % gridDim.y, block / gridDim.x / gridDim.y);
    memset(shared_memory->at, POISON, shared_memory->bytes);
    m.live = m.count = count;
    m.warps.assign((count + 31) / 32, {});
    warpgroup_reset();
    for (Barrier& b : m.barriers) b = Barrier{};
    for (unsigned i = 0; i < count; i++) {
        Thread& t = *m.threads[i];
        t.number = i;
        t.index = dim3(i % blockDim.x, i / blockDim.x % blockDim.y, i / blockDim.x / blockDim.y);
        t.state = State::Ready;
        t.waits_for = "its start";
        t.groups.clear();
        t.open.clear();
        t.fiber.prepare(entry);
    }
    const std::vector<unsigned> order = permutation(count, m.seed, block), warps = permutation((count + 31) / 32, m.seed, block);
    while (m.live != 0) {
        bool moved = false;
        if (m.seed < 2) {
            moved = run_once(order, ~0u);
        } else {
            for (unsigned w : warps)
                while (run_once(order, w)) moved = true;
        }
        m.now = nullptr;
        if (!moved) fail(stuck().c_str());
    }
    if (!shared_memory->intact()) fail("a write before the start of dynamic shared memory");
}

bool admissible(const Kernel* kernel, const unsigned* grid, const unsigned* block, size_t shared) {
    std::string& error = machine().error;
    const unsigned long long threads = 1ull * block[0] * block[1] * block[2];
    if (!kernel) error += "no such kernel";
    else if (threads == 0 || threads > MAX_THREADS) error += "a block has 1 to 1024 threads";
    else if (grid[0] == 0 || grid[1] == 0 || grid[2] == 0 || grid[1] > 65535 || grid[2] > 65535) error += "the grid is empty or too large";
    else if (shared > MAX_SHARED) error += "more dynamic shared memory than a block can have";
    else return true;
    return false;
}

// Handlers for the length of a launch; they run on a stack of their own, as a fiber's may be what overflowed.
struct Handlers {
    static constexpr int SIGNALS[3] = {SIGSEGV, SIGBUS, SIGFPE};
    struct sigaction before[3];
    stack_t stack_before;
    Handlers() {
        static char stack[1 << 16];
        stack_t own{};
        own.ss_sp = stack;
        own.ss_size = sizeof stack;
        sigaltstack(&own, &stack_before);
        struct sigaction action{};
        action.sa_sigaction = on_fault;
        action.sa_flags = SA_SIGINFO | SA_ONSTACK;
        for (int i = 0; i < 3; i++) sigaction(SIGNALS[i], &action, &before[i]);
    }
    ~Handlers() {
        for (int i = 0; i < 3; i++) sigaction(SIGNALS[i], &before[i], nullptr);
        sigaltstack(&stack_before, nullptr);
    }
};
constexpr int Handlers::SIGNALS[3];

}  // namespace

Registered::Registered(const char* name, Sizes sizes, Launcher launcher) { kernels()[name] = Kernel{sizes, launcher}; }

void* dynamic_shared() { return shared_memory->at; }

void fail(const char* what) {
    machine().error = where() + what;
    siglongjmp(machine().escape, 1);
}

unsigned warp() { return machine().now->number / 32; }
bool late() { return machine().seed % 2 == 0; }
unsigned lane() { return machine().now->number % 32; }

void collective(Op op, unsigned mask, const void* in, void* out, Compute compute, const void* common) {
    Machine& m = machine();
    Thread& t = *m.now;
    const unsigned warp = t.number / 32, self = t.number % 32, left = m.count - warp * 32;
    if (left < 32) mask &= (1u << left) - 1;
    if (!(mask >> self & 1u)) fail("a lane takes part in a collective without being in its mask");
    std::vector<Gathering>& pending = m.warps[warp];
    Gathering* g = nullptr;
    for (Gathering& p : pending)
        if (p.mask & mask) g = &p;
    if (!g) {
        pending.push_back(Gathering{op, mask, 0, {}});
        g = &pending.back();
    }
    if (g->mask != mask || g->op != op) fail("lanes of a warp meet in different collectives");
    g->packets[self] = Packet{self, in, out};
    g->arrived |= 1u << self;
    if (g->arrived != mask) {
        static const char* const names[] = {"__syncwarp", "a shuffle", "a vote", "a match", "a reduction", "ldmatrix", "mma"};
        wait_as(State::Collective, names[static_cast<unsigned>(op)]);
        return;
    }
    compute(g->packets, mask, common);
    for (unsigned i = 0; i < 32; i++)
        if (mask >> i & 1u && i != self) m.threads[warp * 32 + i]->state = State::Ready;
    pending.erase(pending.begin() + (g - pending.data()));
}

static int wait_at(unsigned id, unsigned wanted, int predicate, int kind) {
    Machine& m = machine();
    if (id >= 16) fail("a block has 16 barriers");
    Barrier& b = m.barriers[id];
    if (b.arrived == 0) {
        // The result stays: threads of the meeting before may still have to read it.
        b.wanted = wanted, b.kind = kind, b.any = 0, b.all = 1, b.count = 0;
    }
    if (b.wanted != wanted || b.kind != kind) fail("threads disagree on the barrier they meet at");
    b.arrived++;
    b.any |= predicate != 0;
    b.all &= predicate != 0;
    b.count += predicate != 0;
    if (complete(b)) {
        release(b);
    } else {
        b.waiting.push_back(m.now);
        wait_as(State::Barrier, id == 0 ? "__syncthreads" : "a named barrier");
    }
    return b.result;
}

void barrier(unsigned id, unsigned threads) { wait_at(id, threads, 0, 0); }
int barrier_vote(int predicate, int kind) { return wait_at(0, 0, predicate, kind); }

void copy_async(void* to, const void* from, unsigned bytes, unsigned valid) {
    if (reinterpret_cast<uintptr_t>(to) % bytes || (valid && reinterpret_cast<uintptr_t>(from) % bytes)) fail("cp.async: an address is not aligned");
    const Copy c{to, from, bytes, valid};
    if (!late()) perform(c);
    else machine().now->open.push_back(c);
}

void copy_commit() {
    Thread& t = *machine().now;
    t.groups.push_back(std::move(t.open));
    t.open.clear();
}

void copy_wait(unsigned still_pending) {
    std::vector<std::vector<Copy>>& groups = machine().now->groups;
    while (groups.size() > still_pending) {
        for (const Copy& c : groups.front()) perform(c);
        groups.erase(groups.begin());
    }
}

void count_bank_conflicts(const void* const* rows) {
    unsigned uses[8] = {};
    for (int i = 0; i < 8; i++) {
        bool repeated = false;
        for (int j = 0; j < i; j++) repeated |= rows[j] == rows[i];
        if (!repeated) uses[reinterpret_cast<uintptr_t>(rows[i]) / 16 % 8]++;
    }
    machine().conflicts += *std::max_element(uses, uses + 8) - 1;
}

}  // namespace emulate

extern "C" {

int tallow_emulate(const char* name, const unsigned* grid, const unsigned* block, size_t shared, void** args) {
    using namespace emulate;
    Machine& m = machine();
    const auto found = kernels().find(name);
    m.error = std::string(name) + ": ";
    if (!admissible(found == kernels().end() ? nullptr : &found->second, grid, block, shared)) return 1;
    m.kernel = &found->second;
    m.name = name;
    m.args = args;
    m.now = nullptr;
    gridDim = dim3(grid[0], grid[1], grid[2]);
    blockDim = dim3(block[0], block[1], block[2]);
    const unsigned count = block[0] * block[1] * block[2];
    while (m.threads.size() < count) m.threads.push_back(std::make_unique<Thread>());
    shared_memory = std::make_unique<Guarded>(shared);
    const Handlers handlers;
    if (sigsetjmp(m.escape, 1)) return 2;
    for (unsigned b : permutation(grid[0] * grid[1] * grid[2], m.seed, ~0u)) run_block(b, count);
    for (const auto& a : allocations())
        if (!a.second->intact()) fail("a write before the start of a buffer");
    return 0;
}

const char* tallow_emulate_error() { return emulate::machine().error.c_str(); }

int tallow_emulate_sizes(const char* name, unsigned char* bytes, size_t capacity) {
    const auto found = emulate::kernels().find(name);
    if (found == emulate::kernels().end()) return -1;
    const emulate::Sizes& s = found->second.sizes;
    for (size_t i = 0; i < s.count && i < capacity; i++) bytes[i] = s.bytes[i];
    return static_cast<int>(s.count);
}

size_t tallow_emulate_names(char* buffer, size_t capacity) {
    std::string all;
    for (const auto& k : emulate::kernels()) all += k.first + "\n";
    if (capacity) {
        const size_t n = std::min(capacity - 1, all.size());
        memcpy(buffer, all.data(), n);
        buffer[n] = 0;
    }
    return all.size();
}

void tallow_emulate_order(unsigned seed) { emulate::machine().seed = seed; }

void* tallow_emulate_alloc(size_t bytes) {
    auto g = std::make_unique<emulate::Guarded>(bytes);
    void* at = g->at;
    emulate::allocations()[at] = std::move(g);
    return at;
}

void tallow_emulate_free(void* at) { emulate::allocations().erase(at); }

size_t tallow_emulate_conflicts() {
    const size_t n = emulate::machine().conflicts;
    emulate::machine().conflicts = 0;
    return n;
}

}  // extern "C"
