// fibers.h: a fiber is a function call with a stack of its own, which can be left and come back to.
#pragma once
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#ifdef _WIN32
#include <windows.h>
#else
#include <sys/mman.h>
#endif

namespace cuda_on_cpu {
[[noreturn]] void fiber_main();
// CUDA gives a thread up to 512 KiB of local memory; the rest is for what a CPU puts on a stack too.
const size_t STACK = (512 + 64) << 10;
#ifdef _WIN32  // Windows has fibers
struct Fiber { void* handle; };
inline bool holds(Fiber&, uint64_t address) {  // of the running fiber
  NT_TIB* limits = (NT_TIB*)NtCurrentTeb();
  return address >= (uint64_t)limits->StackLimit && address < (uint64_t)limits->StackBase;
}
inline void __stdcall start(void*) { fiber_main(); }
inline void prepare(Fiber& f, char*&) {
  if (f.handle) DeleteFiber(f.handle);
  f.handle = CreateFiberEx(1 << 14, STACK, 0, start, nullptr);
}
inline void give_back(char*) {}
inline void drop_stack(char*&) {}
inline void prepare_root(Fiber& f) { f.handle = IsThreadAFiber() ? GetCurrentFiber() : ConvertThreadToFiber(nullptr); }
inline void jump(Fiber&, Fiber& to) { SwitchToFiber(to.handle); }
#else  // save the registers that a called function must keep, swap the stack pointer, restore them
struct Fiber { void* sp; char* stack; };
const size_t FRAME = 160, GUARD = 1 << 16, KEPT_STACK = 1 << 15;
extern "C" void cuda_on_cpu_jump(void** save, void* load) __asm__("cuda_on_cpu_jump");
#if defined(__x86_64__)
__asm__(
    ".text\n.p2align 4\ncuda_on_cpu_jump:\n"
    "  pushq %rbp; pushq %rbx; pushq %r12; pushq %r13; pushq %r14; pushq %r15\n"
    "  movq %rsp, (%rdi)\n  movq %rsi, %rsp\n"
    "  popq %r15; popq %r14; popq %r13; popq %r12; popq %rbx; popq %rbp\n  ret\n");
const int RETURN_ADDRESS = 6;  // which saved word it is
#elif defined(__aarch64__)
__asm__(
    ".text\n.p2align 4\ncuda_on_cpu_jump:\n"
    "  sub sp, sp, #160\n"
    "  stp x19, x20, [sp]\n  stp x21, x22, [sp, #16]\n  stp x23, x24, [sp, #32]\n"
    "  stp x25, x26, [sp, #48]\n  stp x27, x28, [sp, #64]\n  stp x29, x30, [sp, #80]\n"
    "  stp d8, d9, [sp, #96]\n  stp d10, d11, [sp, #112]\n  stp d12, d13, [sp, #128]\n  stp d14, d15, [sp, #144]\n"
    "  mov x2, sp\n  str x2, [x0]\n  mov sp, x1\n"
    "  ldp x19, x20, [sp]\n  ldp x21, x22, [sp, #16]\n  ldp x23, x24, [sp, #32]\n"
    "  ldp x25, x26, [sp, #48]\n  ldp x27, x28, [sp, #64]\n  ldp x29, x30, [sp, #80]\n"
    "  ldp d8, d9, [sp, #96]\n  ldp d10, d11, [sp, #112]\n  ldp d12, d13, [sp, #128]\n  ldp d14, d15, [sp, #144]\n"
    "  add sp, sp, #160\n  ret\n");
const int RETURN_ADDRESS = 11;
#else
#error "cuda_on_cpu can switch threads on x86-64 and 64-bit ARM only"
#endif
inline bool holds(Fiber& f, uint64_t address) { return address - (uint64_t)f.stack < STACK; }
inline char* new_stack() {  // below it lies a page that nobody may touch: who runs over the end is stopped there
  char* all = (char*)mmap(nullptr, GUARD + STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON | MAP_NORESERVE, -1, 0);
  if (all == (char*)MAP_FAILED || mprotect(all, GUARD, PROT_NONE)) abort();
  return all + GUARD;
}
inline void prepare(Fiber& f, char*& stack) {
  if (!stack) stack = new_stack();
  f.stack = stack;
  void** sp = (void**)(((uintptr_t)(f.stack + STACK) & ~(uintptr_t)15) - FRAME);
  memset((void*)sp, 0, FRAME);
  sp[RETURN_ADDRESS] = (void*)fiber_main;
  f.sp = sp;
}
inline void give_back(char* stack) {  // the memory, all but the piece that most kernels use
  if (stack) madvise(stack, STACK - KEPT_STACK, MADV_DONTNEED);
}
inline void drop_stack(char*& stack) {
  if (stack) munmap(stack - GUARD, GUARD + STACK), stack = nullptr;
}
inline void prepare_root(Fiber&) {}
inline void jump(Fiber& from, Fiber& to) { cuda_on_cpu_jump(&from.sp, to.sp); }
#endif
}  // namespace cuda_on_cpu
