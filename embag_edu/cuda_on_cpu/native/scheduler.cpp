// scheduler.cpp: runs the threads of a block as fibers on one CPU core, block after block.
#ifndef _WIN32
#define clock clock_of_the_host  // a kernel's clock() is another
#include <pthread.h>
#include <signal.h>
#undef clock
#endif
#include "runtime.h"
#include "fibers.h"
#include <stdarg.h>

namespace cuda_on_cpu {
Here* here;
Core core;
unsigned launch_number;
Queue unwaited;
uint16_t atomics_in_a_row;
static Fiber root, fibers[MAX_RESIDENT], *starting;
static Fiber* idle[MAX_RESIDENT];
static char* more_stacks[MAX_RESIDENT];  // of cooperative launches: those of Control are for one block
static unsigned n_idle, n_fibers;
static Text printed;
static Control* control;
// A signal may end a launch at any time: at once in the kernel, soon where memory is being allocated.
static volatile bool in_kernel, allocating, to_leave;

// ---- texts and faults ----------------------------------------------------------------------------
void Text::add(const char* format, ...) {
  for (int tries = 0; tries < 2; tries++) {
    va_list list;
    va_start(list, format);
    size_t left = room - used, wanted = (size_t)vsnprintf(start ? start + used : nullptr, left, format, list);
    va_end(list);
    if (wanted < left) { used += wanted; return; }
    room = 2 * (room + wanted) + 256;
    start = (char*)realloc(start, room);
  }
}
void Text::quote(const char* text, size_t length) {
  add("\"");
  for (size_t i = 0; i < length; i++) {
    unsigned char c = (unsigned char)text[i];
    if (c == '"' || c == '\\') add("\\%c", c);
    else if (c < 32) add("\\u%04x", c);
    else add("%c", c);
  }
  add("\"");
}
static void leave_now();
struct Allocating {
  Allocating() { allocating = true; }
  ~Allocating() {
    allocating = false;
    if (to_leave) leave_now();
  }
};
int print(const char* format, ...) {
  Allocating here_now;
  char line[1024];
  va_list list;
  va_start(list, format);
  int length = vsnprintf(line, sizeof line, format, list);
  va_end(list);
  if (printed.used < (1 << 20)) printed.add("%s", line);  // a GPU's buffer is 1 MiB too
  return length;
}
Fault& new_fault(const char* kind, int line) {
  static Fault spare;
  Fault& fault = core.n_faults < MAX_FAULTS ? core.faults[core.n_faults++] : (core.more_faults++, spare);
  memset((void*)&fault, 0, sizeof fault);
  fault.kind = kind, fault.line = line, fault.span = NOWHERE, fault.count = 1;
  fault.thread = here ? me().index : 0, fault.block = core.block;
  return fault;
}
static bool same_place(const Fault& f, const char* kind, const char* why, int line, int other_line) {
  return strcmp(f.kind, kind) == 0 && strcmp(f.why, why) == 0 && f.line == line && f.other_line == other_line;
}
Fault& new_note(const char* kind, const char* why, int line, int other_line) {
  for (unsigned i = 0; i < core.n_notes; i++)
    if (same_place(core.notes[i], kind, why, line, other_line)) { core.notes[i].count++; return core.notes[i]; }
  Fault& note = core.notes[core.n_notes < MAX_NOTES - 1 ? core.n_notes++ : MAX_NOTES - 1];
  memset((void*)&note, 0, sizeof note);
  note.kind = kind, note.why = why, note.line = line, note.other_line = other_line, note.span = NOWHERE, note.count = 1;
  note.thread = here ? me().index : 0, note.block = note.other_block = core.block;
  return note;
}
static void settle();
void leave() {
  settle();
  core.failed = true;
  jump(*me().fiber, root);
  __builtin_unreachable();
}
void stop(const char* kind, int line, const char* format, ...) {
  Fault& fault = new_fault(kind, line);
  va_list list;
  va_start(list, format);
  vsnprintf(fault.text, sizeof fault.text, format, list);
  va_end(list);
  leave();
}
void assertion_failed(const char* text, int line) { stop("assertion", line, "%s", text); }

// ---- who goes on -----------------------------------------------------------------------------------
bool coin(unsigned sides) {
  if (!core.order) return false;
  core.random ^= core.random << 13, core.random ^= core.random >> 7, core.random ^= core.random << 17;
  return (core.random >> 20) % sides == 0;
}
static void make_ready(unsigned i) {
  core.threads[i].state = READY;
  core.ready[(core.ready_first + core.n_ready++) % MAX_THREADS] = (uint16_t)i;
}
static Fiber* resume_one() {
  unsigned first = core.ready_first, pick = first;
  if (core.order) pick = (first + (coin(1), core.random >> 24) % core.n_ready) % MAX_THREADS;
  unsigned i = core.ready[pick];
  core.ready[pick] = core.ready[first];
  core.ready_first = (first + 1) % MAX_THREADS, core.n_ready--;
  here = &core.threads[i];
  return core.threads[i].fiber;
}
static Fiber* start_one() {
  if (n_idle) return starting = idle[--n_idle];
  prepare(fibers[n_fibers], n_fibers < MAX_THREADS ? control->stacks[n_fibers] : more_stacks[n_fibers]);
  return starting = &fibers[n_fibers++];
}
// The fiber to run now: one that starts the next thread, or that of a thread that can go on, or the
// root when nobody can.
static Fiber* pick() {
  if (core.failed) return &root;
  bool can_start = core.next < core.n_threads;
  if (can_start && (!core.order || !core.n_ready || coin(2))) return start_one();
  return core.n_ready ? resume_one() : &root;
}
// A thread is about to wait: now write down that all before it have ended.
static void settle() {
  if (!core.quick) return;
  core.quick = false, unwaited.next = unwaited.end;
  me().fiber = starting;
  core.done = me().index, core.next = me().index + 1;
  for (unsigned i = 0; i < core.done; i++) {
    core.threads[i].state = DONE;
    core.lanes_done[i / 32] |= 1u << i % 32;
  }
}
static void answer_those_who_ask(unsigned warp, bool at_once);
static void wait_here() {
  if (core.asking) answer_those_who_ask(me().index / 32, false);
  Fiber *mine = me().fiber, *to = pick();
  if (to != mine) jump(*mine, *to);
}
void yield() {
  settle();
  make_ready(me().index);
  if (core.asking && ++core.patience % 1024 == 0)  // a lane spins, and may wait for one that asks
    for (unsigned w = 0; 32 * w < core.n_threads; w++) answer_those_who_ask(w, true);
  wait_here();
}
void fence(Scope scope) {
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
  fenced(scope);
}
long long steps() { return (long long)++core.steps; }

// ---- barriers ----------------------------------------------------------------------------------------
static void check_barrier() {
  const Thread *first = nullptr, *ended = nullptr;
  for (unsigned i = 0; i < core.n_threads; i++) {
    const Thread& t = core.threads[i];
    if (t.state == DONE) ended = ended ? ended : &t;
    else if (!first) first = &t;
    else if (t.line != first->line || t.vote != first->vote) {
      new_fault("divergent barrier", first->line).thread = first->index;
      Fault& fault = core.faults[core.n_faults - 1];
      fault.other_line = t.line, fault.other_thread = t.index, fault.other_block = core.block;
      leave();
    } else if (t.place != first->place) {
      Fault& note = new_note("divergent barrier", "one line", t.line, 0);
      note.thread = first->index, note.other_thread = t.index;
    }
  }
  if (!ended) return;  // a barrier waits for the threads that have not ended (on GPUs of compute capability 7.0 and above)
  Fault& note = new_note("divergent barrier", "ended", first->line, 0);
  note.thread = first->index, note.other_thread = ended->index;
}
static bool release_barrier_if_complete(bool last_goes_on) {
  if (!core.waiting || core.waiting + core.done < core.n_threads) return false;
  if (CHECKED) check_barrier();
  for (unsigned i = 0; i < core.n_threads; i++) core.parked |= core.threads[i].state == AT_BARRIER && core.threads[i].vote == GRID;
  if (core.parked) return false;  // go_on() lets them
  unsigned yes = 0, all = core.waiting, self = me().index;
  for (unsigned i = 0; i < core.n_threads; i++) yes += core.threads[i].state == AT_BARRIER && core.threads[i].in;
  core.waiting = 0;
  barrier_passed();
  for (unsigned n = 0; n < core.n_threads; n++) {
    Thread& t = core.threads[core.order_of[n]];
    if (t.state != AT_BARRIER) continue;
    t.out = t.vote == COUNT ? yes : t.vote == AND ? yes == all : yes != 0;
    if (last_goes_on && t.index == self) t.state = READY;
    else make_ready(t.index);
  }
  return true;
}
int barrier(Vote vote, int predicate, int line, int place) {
  settle();
  if (vote == GRID && !core.cooperative) stop("grid barrier", line, "launch");
  Thread& t = me();
  t.vote = vote, t.in = predicate != 0, t.line = line, t.place = place, t.state = AT_BARRIER;
  core.waiting++;
  bool last_goes_on = !core.order;  // no switch is needed when the last one arrives
  if (!release_barrier_if_complete(last_goes_on) || !last_goes_on) wait_here();
  return (int)t.out;
}

bool cooperative() { return core.cooperative; }

// ---- warps --------------------------------------------------------------------------------------------
unsigned lane() { return me().index % 32; }
// Lanes that ask who is active wait until no lane of their warp can go on: those that then stand in
// the same place are active together. `at_once`: whoever else may still be on the way.
static void answer_those_who_ask(unsigned warp, bool at_once) {
  Thread* lanes = core.threads + 32 * warp;
  unsigned asking = 0, exist = lanes_of(warp) & ~core.lanes_done[warp];
  for (unsigned l = 0; l < 32; l++) {
    if (!(exist >> l & 1)) continue;
    if (lanes[l].state == READY && !at_once) return;
    asking |= (unsigned)(lanes[l].state == AT_WARP && lanes[l].op == ACTIVE) << l;
  }
  for (unsigned l = 0; l < 32; l++) {
    if (!(asking >> l & 1)) continue;
    Thread& t = lanes[l];
    t.out = 0;
    for (unsigned k = 0; k < 32; k++)
      if ((asking >> k & 1) && lanes[k].place == t.place) t.out |= 1u << k;
    if (t.out != exist) new_note("warp mask", "active", t.line, 0).thread = t.index;
    core.at_warp[warp] &= ~(1u << l), core.asking--;
    make_ready(32 * warp + l);
  }
}
unsigned active_lanes(int line, int place) {
  settle();
  Thread& t = me();
  t.op = ACTIVE, t.mask = 1u << t.index % 32, t.line = line, t.place = place, t.state = AT_WARP;
  core.at_warp[t.index / 32] |= t.mask, core.asking++;
  wait_here();
  return (unsigned)t.out;
}
static uint64_t combine(WarpOp op, uint64_t a, uint64_t b) {
  unsigned x = (unsigned)a, y = (unsigned)b;
  switch (op) {
    case ADD: return x + y;
    case MIN: return (int)x < (int)y ? x : y;
    case MAX: return (int)x < (int)y ? y : x;
    case UMIN: return x < y ? x : y;
    case UMAX: return x < y ? y : x;
    case BIT_AND: return x & y;
    case BIT_OR: return x | y;
    default: return x ^ y;
  }
}
static void check_source(const Thread& t, unsigned part, unsigned warp) {
  if (part >> t.from & 1) return;
  Fault& fault = new_fault("shuffle source", t.line);
  fault.thread = t.index;
  snprintf(fault.text, sizeof fault.text, "%d %s 0x%08x", t.from,
           core.lanes_done[warp] >> t.from & 1 ? "ended" : lanes_of(warp) >> t.from & 1 ? "outside" : "missing", t.mask);
  leave();
}
static uint64_t result_for(const Thread& t, unsigned part, unsigned warp) {
  const Thread* lanes = core.threads + 32 * warp;
  if (t.op == SHUFFLE) {
    check_source(t, part, warp);
    return lanes[t.from].in;
  }
  uint64_t same = 0, yes = 0, all = 0;
  bool begun = false;
  for (unsigned l = 0; l < 32; l++) {
    if (!(part >> l & 1)) continue;
    yes |= (uint64_t)(lanes[l].in != 0) << l;
    same |= (uint64_t)(lanes[l].in == t.in) << l;
    all = begun ? combine(t.op, all, lanes[l].in) : lanes[l].in;
    begun = true;
  }
  return t.op == BALLOT ? yes : t.op == MATCH_ANY ? same : t.op == MATCH_ALL ? (same == part ? same : 0) : all;
}
// The same operation in the same line with masks that overlap and differ: undefined.
static void check_masks(unsigned warp, unsigned part, const Thread& t) {
  const Thread* lanes = core.threads + 32 * warp;
  for (unsigned l = 0; l < 32; l++) {
    const Thread& o = lanes[l];
    if (!(core.at_warp[warp] >> l & 1) || (part >> l & 1) || o.op != t.op || o.line != t.line || !(o.mask & part)) continue;
    Fault& fault = new_fault("warp mask", t.line);
    fault.thread = t.index, fault.other_thread = o.index, fault.other_block = core.block, fault.other_line = o.line;
    snprintf(fault.text, sizeof fault.text, "warp 0x%08x warp 0x%08x 0", t.mask, o.mask);
    leave();
  }
}
static bool release_warp_if_complete(unsigned warp, unsigned mask, WarpOp op) {
  Thread* lanes = core.threads + 32 * warp;
  unsigned part = mask & lanes_of(warp) & ~core.lanes_done[warp];
  if (!part || (core.at_warp[warp] & part) != part) return false;  // some are still on their way
  for (unsigned l = 0; l < 32; l++)
    if ((part >> l & 1) && (lanes[l].mask != mask || lanes[l].op != op)) return false;  // waits in another operation
  if (CHECKED) check_masks(warp, part, lanes[__builtin_ctz(part)]);
  for (unsigned l = 0; l < 32; l++)
    if ((part >> l & 1) && op != SYNC) lanes[l].out = result_for(lanes[l], part, warp);
  core.at_warp[warp] &= ~part;
  if (op == SYNC) lanes_synced(warp, part);  // only __syncwarp puts memory accesses in order
  for (unsigned l = 0; l < 32; l++)
    if (part >> l & 1) make_ready(32 * warp + l);
  return true;
}
uint64_t warp(WarpOp op, unsigned mask, uint64_t in, int from, int line) {
  settle();
  Thread& t = me();
  unsigned bit = 1u << t.index % 32, warp = t.index / 32;
  if (!(mask & bit)) stop("warp mask", line, "self 0x%08x", mask);
  t.op = op, t.in = in, t.mask = mask, t.from = from, t.line = line, t.state = AT_WARP;
  core.at_warp[warp] |= bit;
  release_warp_if_complete(warp, mask, op);
  wait_here();
  return t.out;
}

// ---- asynchronous copies ----------------------------------------------------------------------------------
void copy_later(void* shared, const void* global, size_t bytes, size_t zeros, int line) {
  Thread& t = me();
  if (bytes != 4 && bytes != 8 && bytes != 16) stop("async copy", line, "size %d", (int)bytes);
  const void* pc = __builtin_return_address(0);
  record(global, (unsigned)(bytes - zeros), READ, line, pc);
  record(shared, (unsigned)bytes, WRITE, line, pc);
  if (t.n_copies == t.copies_room) {
    Allocating here_now;
    t.copies_room = 2 * t.copies_room + 8;
    t.copies = (Copy*)realloc((void*)t.copies, t.copies_room * sizeof(Copy));
  }
  t.copies[t.n_copies++] = {(char*)shared, (const char*)global, (unsigned)bytes, (unsigned)zeros, t.batch};
  copy_pending(shared, (unsigned)bytes, true);
}
void commit_copies() { me().batch++; }
void finish_copies(unsigned batches_left, int line) {
  Thread& t = me();
  unsigned kept = 0;
  for (unsigned i = 0; i < t.n_copies; i++) {
    Copy& c = t.copies[i];
    if (c.batch + batches_left >= t.batch) { t.copies[kept++] = c; continue; }
    copy_pending(c.to, c.bytes, false);
    record(c.to, c.bytes, WRITE, line, __builtin_return_address(0));
    memcpy(c.to, c.from, c.bytes - c.zeros);
    memset(c.to + c.bytes - c.zeros, 0, c.zeros);
  }
  t.n_copies = kept;
}

enum Space { GLOBAL_SPACE, SHARED_SPACE, LOCAL_SPACE };
Space space_of(const void* address) {
  if ((uint64_t)address - (uint64_t)core.shared < 3 * SHARED_BYTES) return SHARED_SPACE;
  Fiber* fiber = core.quick ? starting : me().fiber;
  return holds(*fiber, (uint64_t)address) ? LOCAL_SPACE : GLOBAL_SPACE;
}
bool on_stack(const Thread& thread, uint64_t address) { return holds(*thread.fiber, address); }

// ---- a block ------------------------------------------------------------------------------------------------
static void thread_done() {
  Thread& t = me();
  unsigned warp = t.index / 32;
  t.state = DONE;
  core.lanes_done[warp] |= 1u << t.index % 32;
  core.done++;
  thread_ends(t.index);
  if (core.waiting) release_barrier_if_complete(false);
  if (core.asking) answer_those_who_ask(warp, false);
  for (unsigned l = 0; core.at_warp[warp] && l < 32; l++)
    if ((core.at_warp[warp] >> l & 1) && core.threads[32 * warp + l].op != ACTIVE) release_warp_if_complete(warp, core.threads[32 * warp + l].mask, core.threads[32 * warp + l].op);
}
static Call call;
static void** args;
// A fiber runs whole threads one after another. Only when a thread has to wait does another fiber
// start, so that a kernel without barriers needs one fiber and not a single switch.
void fiber_main() {
  for (;;) {
    Fiber* mine = starting;
    do {
      Thread& t = core.threads[core.order_of[core.next++]];
      t.fiber = mine;
      here = &t;
      if (core.quick) unwaited = {core.threads + 1, core.threads + core.n_threads, sizeof(Thread)};
      call(args);
      if (core.quick) core.done = core.next = core.n_threads;  // all have run, and none has waited
      else thread_done();
    } while (!core.order && core.next < core.n_threads);  // in order, starting comes before going on
    idle[n_idle++] = mine;
    Fiber* to = pick();
    if (to != mine) jump(*mine, *to);
  }
}
static int weight(const Thread& t) {  // who is most likely at fault: a shuffle, a __syncwarp, a barrier
  return t.state == AT_BARRIER ? 1 : t.state != AT_WARP ? 0 : t.op == SYNC ? 2 : 3;
}
static void explain_deadlock() {
  const Thread *a = core.threads, *b = nullptr;  // two threads that wait in different places, if there are
  unsigned like_a = 0;
  for (unsigned i = 0; i < core.n_threads; i++)
    if (weight(core.threads[i]) > weight(*a)) a = &core.threads[i];
  for (unsigned i = 0; i < core.n_threads; i++) {
    const Thread& t = core.threads[i];
    bool alike = t.state == a->state && t.line == a->line;
    like_a += alike;
    if (!b && weight(t) && (!alike || (t.state == AT_WARP && t.mask != a->mask))) b = &t;
  }
  bool masks = b && a->state == AT_WARP && b->state == AT_WARP && a->mask != b->mask;
  Fault& fault = new_fault(masks ? "warp mask" : "deadlock", a->line);
  fault.thread = a->index, fault.count = like_a;
  if (b) fault.other_line = b->line, fault.other_thread = b->index, fault.other_block = core.block;
  snprintf(fault.text, sizeof fault.text, "%s 0x%08x %s 0x%08x %u", a->state == AT_BARRIER ? "barrier" : "warp", a->mask,
           !b ? "none" : b->state == AT_BARRIER ? "barrier" : "warp", b ? b->mask : 0, core.done);
}
static void run_block() {
  Fiber* first = pick();
  in_kernel = true;
  jump(root, *first);
  in_kernel = false;
  if (core.failed || core.done == core.n_threads || core.parked) return;
  explain_deadlock();
  core.failed = true;
}
unsigned reserve_shared(size_t bytes, const char* names, int line) {
  const unsigned GAP = CHECKED ? 256 : 0;  // between arrays, so that running over an end is seen
  unsigned at = (core.static_bytes + GAP + 127) / 128 * 128;
  core.static_wanted += (unsigned)bytes;
  if (core.static_wanted > STATIC_SHARED_BYTES || core.static_wanted + core.dynamic_bytes > core.shared_most)
    stop("shared memory", line, "%u %u %u %s", core.static_wanted, core.dynamic_bytes, core.shared_most, names);
  core.static_bytes = (unsigned)(at + bytes);
  if (core.n_arrays < 64) core.arrays[core.n_arrays++] = {at, (unsigned)bytes, names, line};
  return at;
}

// ---- a launch: the blocks first .. last - 1 on this core --------------------------------------------------------
static void start_block(const Launch& l, unsigned long long b) {
  core.block = (unsigned)b;
  uint3 id = {(unsigned)(b % l.grid[0]), (unsigned)(b / l.grid[0] % l.grid[1]), (unsigned)(b / l.grid[0] / l.grid[1])};
  for (unsigned i = 0; i < core.n_threads; i++) {
    Thread& t = core.threads[i];
    t.blockIdx = id, t.state = READY, t.n_copies = t.batch = 0, t.wrote = 0;
    t.fence_time[IN_BLOCK] = t.fence_time[ON_DEVICE] = t.fence_barrier[IN_BLOCK] = t.fence_barrier[ON_DEVICE] = 0;
    core.order_of[i] = (uint16_t)i;
  }
  for (unsigned i = core.n_threads - 1; core.order && i > 0; i--) {
    coin(1);
    unsigned j = (unsigned)((core.random >> 24) % (i + 1));
    uint16_t swapped = core.order_of[i];
    core.order_of[i] = core.order_of[j], core.order_of[j] = swapped;
  }
  memset(core.at_warp, 0, sizeof core.at_warp);
  memset(core.lanes_done, 0, sizeof core.lanes_done);
  core.quick = !CHECKED && !core.order;
  core.next = core.done = core.waiting = core.n_ready = core.ready_first = core.asking = core.patience = 0;
  core.parked = false;
  if (!core.cooperative) n_idle = n_fibers = 0;
  block_starts();
}
static void start_launch(const Launch& l) {
  static char* shared;
  // Windows has no aligned_alloc
  if (!shared) shared = (char*)(((uintptr_t)malloc(3 * SHARED_BYTES + 255) + 255) / 256 * 256);
  core.n_threads = l.block[0] * l.block[1] * l.block[2];
  core.order = l.order, core.random = 0x9e3779b97f4a7c15ull * (l.order + 1);
  core.failed = false, core.n_faults = core.more_faults = core.n_notes = 0, core.steps = 0;
  core.static_bytes = core.static_wanted = core.n_arrays = 0, core.shared = shared;
  core.dynamic_bytes = (unsigned)l.dynamic_bytes, core.shared_most = (unsigned)l.shared_most;
  call = l.call, args = l.args, printed.used = 0;
  core.cooperative = l.cooperative, n_idle = n_fibers = 0;
  launch_number++;
  for (unsigned i = 0; i < core.n_threads; i++) {
    Thread& t = core.threads[i];
    t.index = i;
    t.threadIdx = {i % l.block[0], i / l.block[0] % l.block[1], i / l.block[0] / l.block[1]};
    t.blockDim = dim3(l.block[0], l.block[1], l.block[2]);
    t.gridDim = dim3(l.grid[0], l.grid[1], l.grid[2]);
    t.shared = shared, t.dynamic_shared = shared + SHARED_BYTES / 256 * 256;
  }
}
static unsigned long long permuted(unsigned long long i, unsigned long long n) {  // another order of 0 .. n - 1
  if (!core.order) return i;
  unsigned long long step = core.order * 2654435761ull % n | 1;
  for (unsigned long long a = step, b = n; b;) {  // the step must have no factor in common with n
    unsigned long long rest = a % b;
    a = b, b = rest;
    if (!b && a != 1) step += 2, a = step, b = n;
  }
  return (i * (step % n) + core.order) % n;
}
// ---- a barrier of the whole grid: one block after another comes to it, then one after another goes on -----------
struct Parked { bool waits; unsigned block, done, static_bytes, lanes_done[WARPS]; Thread* threads; char* shared; };
static Parked* blocks;
static void park(Parked& p) {
  p.waits = true, p.block = core.block, p.done = core.done, p.static_bytes = core.static_bytes;
  memcpy(p.lanes_done, core.lanes_done, sizeof p.lanes_done);
  p.threads = (Thread*)malloc(core.n_threads * sizeof(Thread));
  memcpy((void*)p.threads, (void*)core.threads, core.n_threads * sizeof(Thread));
  for (unsigned i = 0; i < core.n_threads; i++) core.threads[i].copies = nullptr, core.threads[i].copies_room = 0;
  p.shared = (char*)malloc(3 * (core.static_bytes + core.dynamic_bytes) + 1);
  block_parks(keep_shared(core.shared, p.shared, p.static_bytes, false));
}
static void drop(Parked& p) {
  free((void*)p.threads), free(p.shared);
  p = {};
}
static void go_on(Parked& p) {
  core.block = p.block, core.done = p.done, core.waiting = 0, core.parked = false;
  memcpy(core.lanes_done, p.lanes_done, sizeof p.lanes_done);
  for (unsigned i = 0; i < core.n_threads; i++) free((void*)core.threads[i].copies);
  memcpy((void*)core.threads, (void*)p.threads, core.n_threads * sizeof(Thread));
  block_starts();
  block_goes_on(keep_shared(core.shared, p.shared, p.static_bytes, true), p.static_bytes);
  drop(p);
  for (unsigned i = 0; i < core.n_threads; i++)
    if (core.threads[i].state == AT_BARRIER) make_ready(i);
}
static void run_block_to_barrier(Parked& p) {
  run_block();
  if (core.parked && !core.failed) park(p);
  else block_ends();
}
static bool all_wait(unsigned n) {  // false: all have ended, or the launch has failed
  unsigned one = 0, other = 0, thread = 0;
  while (one < n && !blocks[one].waits) one++;
  while (other < n && blocks[other].waits) other++;
  if (core.failed || one == n || other == n) return !core.failed && one < n;
  while (blocks[one].threads[thread].state != AT_BARRIER) thread++;
  Fault& fault = new_fault("grid barrier", blocks[one].threads[thread].line);
  fault.thread = thread, fault.block = blocks[one].block, fault.other_block = (unsigned)permuted(other, n);
  snprintf(fault.text, sizeof fault.text, "ended");
  core.failed = true;
  return false;
}
static bool may_go_on(unsigned block) {
  if (to_leave) core.block = block, new_fault("endless", 0), core.failed = true;
  return !core.failed;
}
static void run_grid(const Launch& l) {
  unsigned n = (unsigned)l.last;
  blocks = (Parked*)calloc(n, sizeof(Parked));
  for (unsigned i = 0; i < n && may_go_on(i); i++) {
    start_block(l, permuted(i, n));
    run_block_to_barrier(blocks[i]);
  }
  for (unsigned i = 0; (i || all_wait(n)) && may_go_on(i); i = (i + 1) % n) {
    if (!i) grid_passed();
    Parked& p = blocks[permuted(i, n)];
    go_on(p);
    run_block_to_barrier(p);
  }
  for (unsigned i = 0; i < n; i++) drop(blocks[i]);
  free((void*)blocks);
  for (unsigned i = MAX_THREADS; i < n_fibers; i++) drop_stack(more_stacks[i]);
}
static void leave_now() {
  if (!CHECKED) new_fault("endless", 0);
  core.failed = true;
  Fiber none;
  jump(none, root);
}
static void leave_soon() {
  if (in_kernel && !allocating) leave_now();
  to_leave = true;
}
// Fast mode: the system refuses an access, of a wild pointer or beyond the end of a stack. The kernel is left.
static bool overrun(uint64_t address) {
  if (!in_kernel || allocating) return false;
  bool stack = false;
#ifndef _WIN32
  for (unsigned i = 0; i < n_fibers; i++) stack |= (uint64_t)fibers[i].stack - address - 1 < GUARD;
#endif
  strcpy(new_fault("crash", 0).text, stack ? "stack" : "pointer");
  core.failed = true;
  Fiber none;
  jump(none, root);
  return true;
}
#ifndef _WIN32
// Python looks at Ctrl-C when the launch is over: here it ends the launch as well.
static struct sigaction pythons;
static void on_interrupt(int signal) {
  pthread_t thread = (pthread_t)control->thread;
  if (!pthread_equal(thread, pthread_self())) { pthread_kill(thread, signal); return; }
  pythons.sa_handler(signal);
  leave_soon();
}
static void take_signals() {
  static char stack[1 << 16];  // a handler needs one of its own where a thread's stack is full
  stack_t own, old;
  memset(&own, 0, sizeof own);
  own.ss_sp = stack, own.ss_size = sizeof stack;
  if (sigaltstack(nullptr, &old) == 0 && (old.ss_flags & SS_DISABLE)) sigaltstack(&own, nullptr);
  if (!control->interrupt) return;
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = on_interrupt, action.sa_flags = SA_RESTART | SA_NODEFER;
  sigaction((int)control->interrupt, nullptr, &pythons);
  bool plain = !(pythons.sa_flags & SA_SIGINFO) && pythons.sa_handler != SIG_DFL && pythons.sa_handler != SIG_IGN;
  if (plain) sigaction((int)control->interrupt, &action, nullptr);
  else control->interrupt = 0;
}
static void give_signals_back() {
  if (control->interrupt) sigaction((int)control->interrupt, &pythons, nullptr);
}
#else
static void take_signals() {}
static void give_signals_back() {}
#endif
int run_blocks(const Launch& l) {
  prepare_root(root);
  control = l.control, to_leave = false;
  control->leave = leave_soon, control->overrun = overrun;
  if (!CHECKED) take_signals();
  start_launch(l);
  launch_starts();
  if (core.cooperative) run_grid(l);
  else for (unsigned long long i = l.first; i < l.last && may_go_on((unsigned)i); i++) {
    start_block(l, l.first + permuted(i - l.first, l.last - l.first));
    run_block();
    block_ends();
  }
  here = nullptr;
  launch_ends();
  if (!CHECKED) give_signals_back();
  for (unsigned i = 0; CHECKED && i < core.n_threads; i++) give_back(control->stacks[i]);
  return core.failed || core.n_faults;
}
#ifndef _WIN32
static Control* controls;
static unsigned n_controls;
static void on_signal(int) {
  for (unsigned i = 0; i < n_controls; i++)
    if (controls[i].thread == (uint64_t)pthread_self()) controls[i].leave();
}
static struct sigaction crashed[2];
static void on_crash(int signal, siginfo_t* info, void*) {
  for (unsigned i = 0; i < n_controls; i++)
    if (controls[i].thread == (uint64_t)pthread_self() && controls[i].overrun) controls[i].overrun((uint64_t)info->si_addr);
  sigaction(signal, &crashed[signal == SIGBUS], nullptr);  // not a kernel's: the access is tried again, and ends as ever
}
// Asked of one library of the process: Python sends this signal to a thread whose launch is to end.
CUDA_ON_CPU_EXPORT void cuda_on_cpu_listen(Control* all, unsigned n, int signal) {
  controls = all, n_controls = n;
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = on_signal, action.sa_flags = SA_RESTART | SA_NODEFER;
  sigaction(signal, &action, nullptr);
  action.sa_sigaction = on_crash, action.sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK;
  sigaction(SIGSEGV, &action, &crashed[0]);
  sigaction(SIGBUS, &action, &crashed[1]);
}
#endif
static void write_faults(Text& json, const char* name, const Fault* faults, unsigned n) {
  json.add("\"%s\":[", name);
  for (unsigned i = 0; i < n; i++) {
    const Fault& f = faults[i];
    json.add("%s{\"kind\":\"%s\",\"line\":%d,\"other_line\":%d,\"thread\":%u,\"block\":%u,\"other_thread\":%u,\"other_block\":%u,",
             i ? "," : "", f.kind, f.line, f.other_line, f.thread, f.block, f.other_thread, f.other_block);
    json.add("\"access\":%d,\"other_access\":%d,\"span\":%d,\"offset\":%lld,\"bytes\":%u,\"count\":%u,\"text\":", f.access, f.other_access,
             f.span, f.offset, f.bytes, f.count);
    json.quote(f.text, strlen(f.text));
    json.add(",\"why\":\"%s\"}", f.why ? f.why : "");
  }
  json.add("],");
}
CUDA_ON_CPU_EXPORT const char* cuda_on_cpu_report() {
  static Text json;
  json.used = 0;
  json.add("{\"stopped\":%s,", core.failed ? "true" : "false");
  write_faults(json, "faults", core.faults, core.n_faults);
  write_faults(json, "notes", core.notes, core.n_notes);
  json.add("\"more_faults\":%u,\"static_shared\":%u,\"printed\":", core.more_faults, core.static_wanted);
  json.quote(printed.start ? printed.start : "", printed.used);
  write_counts(json);
  json.add("}");
  return json.start;
}
}  // namespace cuda_on_cpu
