// A stack that can be left and entered again: one per CUDA thread.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace emulate {

constexpr size_t STACK_BYTES = 128 << 10;

class Fiber {
  public:
    Fiber() {
        const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
        void* at = mmap(nullptr, STACK_BYTES + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON, -1, 0);
        if (at == MAP_FAILED) __builtin_trap();
        mprotect(at, page, PROT_NONE);
        stack = static_cast<char*>(at) + page;
    }
    Fiber(const Fiber&) = delete;

    // The next `enter` runs `entry` from its beginning. It must end by `leave`.
    void prepare(void (*entry)());
    // From the scheduler: runs the fiber until it leaves.
    void enter();
    // From the fiber: returns to the scheduler.
    void leave();

  private:
    char* stack;
#if defined(__x86_64__)
    void* inside = nullptr;
    void* outside = nullptr;
#else
    ucontext_t inside, outside;
#endif
};

#if defined(__x86_64__)

extern "C" void tallow_emulate_switch(void** save, void* load);
// The callee-saved registers are all that a call must keep.
asm(R"(
.text
.globl tallow_emulate_switch
.type tallow_emulate_switch, @function
tallow_emulate_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
.size tallow_emulate_switch, .-tallow_emulate_switch
)");

inline void Fiber::prepare(void (*entry)()) {
    // As if `entry` had been called: the stack is 8 bytes off a multiple of 16.
    void** top = reinterpret_cast<void**>(stack + STACK_BYTES) - 2;
    top[0] = reinterpret_cast<void*>(entry);
    top[1] = nullptr;
    for (int i = 1; i <= 6; i++) top[-i] = nullptr;
    inside = top - 6;
}
inline void Fiber::enter() { tallow_emulate_switch(&outside, inside); }
inline void Fiber::leave() { tallow_emulate_switch(&inside, outside); }

#else

inline void Fiber::prepare(void (*entry)()) {
    getcontext(&inside);
    inside.uc_stack.ss_sp = stack;
    inside.uc_stack.ss_size = STACK_BYTES;
    inside.uc_link = nullptr;
    makecontext(&inside, entry, 0);
}
inline void Fiber::enter() { swapcontext(&outside, &inside); }
inline void Fiber::leave() { swapcontext(&inside, &outside); }

#endif

}  // namespace emulate
