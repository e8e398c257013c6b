// runtime.h: what the scheduler and the recorder know of each other. A kernel never sees it.
#pragma once
#include <initializer_list>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <type_traits>
#include <utility>
#define CUDA_ON_CPU_RUNTIME
#include "cuda_on_cpu.h"
#undef threadIdx
#undef blockIdx
#undef blockDim
#undef gridDim
#undef printf

namespace cuda_on_cpu {
const unsigned MAX_THREADS = 1024, MAX_RESIDENT = 12288;  // of a block; of all blocks of a cooperative launch (arguments.py)
const unsigned WARPS = MAX_THREADS / 32, MAX_FAULTS = 32, MAX_NOTES = 16;
const unsigned SHARED_BYTES = 228 * 1024, STATIC_SHARED_BYTES = 48 * 1024;  // room for either kind; the most of static arrays

struct Fiber;
enum State : uint8_t { READY, AT_BARRIER, AT_WARP, DONE };
struct Copy {  // one asynchronous copy that has not arrived
  char* to;
  const char* from;
  unsigned bytes, zeros, batch;
};
struct Thread : Here {
  unsigned index;
  Fiber* fiber;
  State state;
  int line, place;    // of the barrier or warp operation that it waits in; a line may hold several places
  Vote vote;
  WarpOp op;
  unsigned mask;      // the lanes that take part
  int from;           // the lane to read in a shuffle
  uint64_t in, out;   // what it gave and what it gets
  Copy* copies;
  unsigned n_copies, copies_room, batch;
  unsigned fence_time[2], fence_barrier[2], wrote;  // checked mode, by Scope: see ordered() in recorder.cpp
};
enum Access : uint8_t { READ, WRITE, ATOMIC, STEP };
struct Fault {            // or a note: what looks like a fault, and is right all the same
  const char *kind, *why;  // why: of a note
  int line, other_line;
  unsigned thread, block, other_thread, other_block;
  int access, other_access, span;  // span: which array, or one of the constants below
  long long offset;                // in bytes, from the start of the array
  unsigned bytes, count, pc, other_pc;
  char text[240];
};
struct SharedArray { unsigned offset, bytes; const char* names; int line; };
const int DYNAMIC = -1, NOWHERE = -2, STATIC = -10;  // spans that are no arrays; STATIC - k: shared array k
struct Core {
  Thread threads[MAX_THREADS];
  uint16_t order_of[MAX_THREADS], ready[MAX_THREADS];  // the order of starting; who could go on
  unsigned n_threads, next, done, waiting, ready_first, n_ready;
  unsigned at_warp[WARPS], lanes_done[WARPS];          // one bit for each lane
  unsigned order, block, dynamic_bytes, shared_most, static_bytes, static_wanted;
  uint64_t random, steps;
  bool failed, quick;  // quick: in order, and no thread of the block has waited yet
  bool cooperative, parked;                            // parked: all threads of the block wait for the grid
  char* shared;
  SharedArray arrays[64];
  unsigned n_arrays;
  Fault faults[MAX_FAULTS], notes[MAX_NOTES];
  unsigned n_faults, more_faults, n_notes;
  unsigned asking, patience;  // how many wait in __activemask, and how long others have run meanwhile
};
extern Core core;
inline Thread& me() { return *static_cast<Thread*>(here); }
inline unsigned lanes_of(unsigned warp) {  // which lanes of a warp exist: the last may be partial
  unsigned left = core.n_threads - 32 * warp;
  return left < 32 ? (1u << left) - 1 : ~0u;
}
// The parts of a block's shared memory that are in use, or the notes on them, to where they are kept, or back.
inline char* keep_shared(char* memory, char* kept, unsigned static_bytes, bool back) {
  char* parts[] = {memory, memory + SHARED_BYTES / 256 * 256};
  size_t bytes[] = {static_bytes, core.dynamic_bytes};
  for (int i = 0; i < 2; kept += bytes[i++]) memcpy(back ? parts[i] : kept, back ? kept : parts[i], bytes[i]);
  return kept;
}
bool on_stack(const Thread& thread, uint64_t address);
bool coin(unsigned sides);                                      // true once in so many times, when order > 0
Fault& new_fault(const char* kind, int line);                   // of the running thread
Fault& new_note(const char* kind, const char* why, int line, int other_line);  // or the one that there is, counted up
[[noreturn]] void stop(const char* kind, int line, const char* format, ...);
[[noreturn]] void leave();                                      // the launch has failed

struct Text {  // a growing text, for the report
  char* start;
  size_t used, room;
  void add(const char* format, ...);
  void quote(const char* text, size_t length);
};

// What the recorder is told. In fast mode there is none.
#ifdef CUDA_ON_CPU_CHECKED
void record(const volatile void* address, unsigned bytes, Access access, int line, const void* pc);
void launch_starts();
void block_starts();
void thread_ends(unsigned thread);
void barrier_passed();
void lanes_synced(unsigned warp, unsigned lanes);
void fenced(Scope scope);
void copy_pending(const void* shared, unsigned bytes, bool pending);
void block_ends();
void block_parks(char* kept);
void block_goes_on(char* kept, unsigned static_bytes);
void grid_passed();
void launch_ends();
void write_counts(Text& json);
const bool CHECKED = true;
#else
inline void record(const volatile void*, unsigned, Access, int, const void*) {}
inline void launch_starts() {}
inline void block_starts() {}
inline void thread_ends(unsigned) {}
inline void barrier_passed() {}
inline void lanes_synced(unsigned, unsigned) {}
inline void fenced(Scope) {}
inline void copy_pending(const void*, unsigned, bool) {}
inline void block_ends() {}
inline void block_parks(char*) {}
inline void block_goes_on(char*, unsigned) {}
inline void grid_passed() {}
inline void launch_ends() {}
inline void write_counts(Text&) {}
const bool CHECKED = false;
#endif
}  // namespace cuda_on_cpu
