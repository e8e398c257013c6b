// recorder.cpp: checked mode. The kernel is compiled with -fsanitize=thread, bounds and coverage, which
// makes the compiler call a function before every load, store and array index, and in every basic
// block. The sanitizers' libraries are not linked: the functions below take their place. They look
// at an access before it happens, remember who touched what, and count what a warp asks for.
#define clock clock_of_the_host  // a kernel's clock() is another
#include <time.h>
#undef clock
#include "runtime.h"
#include <stdlib.h>
#ifndef _WIN32
#include <sys/mman.h>
#endif

namespace cuda_on_cpu {
// ---- what the launch may touch, told by Python ---------------------------------------------------
const unsigned MAX_SPANS = 64, PAGE = 1 << 16;
struct Watch {
  uint64_t low, high;                          // the arena: all arrays, with guard zones between them
  uint64_t start[MAX_SPANS], end[MAX_SPANS];   // every array; after them the module's own variables
  unsigned char writable[MAX_SPANS];
  unsigned n_spans, n_arrays, log_limit, interrupt;
  uint64_t* progress;                          // line, thread, block, blocks done, when this one began
  uint64_t shadow_limit;
  uint64_t image_low, image_high;              // the library's own read-only data
  unsigned n_studied;                          // elements of which every access is told: see study()
  struct Element { int span; unsigned block, bytes; long long offset; } studied[4];
};
static Watch watch;
bool in_atomic;

static uint64_t nanoseconds() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

// ---- source lines: the assembler put a label behind every call in the kernel (toolchain.py) ----------
struct Label { uint64_t pc; int64_t line; };  // a negative line is a guess
}  // namespace cuda_on_cpu
extern "C" cuda_on_cpu::Label cuda_on_cpu_labels[];
extern "C" uint64_t cuda_on_cpu_n_labels;
namespace cuda_on_cpu {
static uint64_t base;  // program counters are kept as 32-bit differences from it
static int by_pc(const void* a, const void* b) {
  uint64_t x = ((const Label*)a)->pc, y = ((const Label*)b)->pc;
  return x < y ? -1 : x > y;
}
static void sort_labels() {
  if (base) return;
  qsort(cuda_on_cpu_labels, cuda_on_cpu_n_labels, sizeof(Label), by_pc);
  base = cuda_on_cpu_n_labels ? cuda_on_cpu_labels[0].pc : 1;
}
struct Known { unsigned pc; int line; };
static Known known[1024];  // lines that an intrinsic was told by its caller
static int told_line(unsigned pc) {
  for (unsigned h = pc * 2654435761u >> 22, n = 0; n < 8; n++, h = (h + 1) % 1024)
    if (known[h].pc == pc && known[h].line) return known[h].line;
  uint64_t first = 0, last = cuda_on_cpu_n_labels;
  while (first < last) {
    uint64_t middle = (first + last) / 2;
    if (cuda_on_cpu_labels[middle].pc - base < pc) first = middle + 1;
    else last = middle;
  }
  return first < cuda_on_cpu_n_labels && cuda_on_cpu_labels[first].pc - base == pc ? (int)cuda_on_cpu_labels[first].line : 0;
}
static int line_of(unsigned pc) { return abs(told_line(pc)); }
struct Spot {  // of an access: its line is looked up where a fault is told, not at each access
  int told;
  unsigned pc;
  int line() const { return told ? told : line_of(pc); }
};
static void know(unsigned pc, int line) {
  for (unsigned h = pc * 2654435761u >> 22, n = 0; n < 8; n++, h = (h + 1) % 1024)
    if (known[h].pc == pc || !known[h].line) { known[h] = {pc, line}; return; }
}

// ---- the order of things: what has happened before what -------------------------------------------------
// `now` grows with every barrier, __syncwarp and fence. Two accesses to one address are in order if
// one thread made both, or a barrier or __syncwarp of both threads lies between them, or a chain of
// fence -> atomic, atomic on the same address -> access. If not, and one is a write, it is a race.
// A volatile write behind a fence is a flag: for the threads of other warps it does what an atomic
// does, and so does a volatile read of it. (Within a warp it does not: no warp runs in step.)
enum Kind : uint8_t { READS, WRITES, ATOMICALLY, LOOKS, STORES, SETS_FLAG, ATOMICALLY_IN_BLOCK };  // LOOKS, STORES: volatile
static Access access_of(Kind kind) {
  static const Access of[] = {READ, WRITE, ATOMIC, READ, WRITE, WRITE, ATOMIC};
  return of[kind];
}
static bool writes(Kind kind) { return kind == WRITES || kind == STORES; }
// Who made an access, in 12 bytes: a launch may have a thousand million of them.
struct Who {
  unsigned block, time, packed;  // packed: where (an index of pcs), the thread, the bytes of four, the kind
  unsigned where() const { return packed & 0x7fff; }
  unsigned thread() const { return packed >> 15 & 1023; }
  unsigned mask() const { return packed >> 25 & 15; }  // 0: nobody
  Kind kind() const { return (Kind)(packed >> 29); }
};
const int KEPT = 5;
struct Cell { Who by[KEPT]; };  // of 4 bytes: some of those who touched them
static unsigned now, barrier_time, block_fenced;  // block_fenced: a barrier before which all had fenced
static unsigned grid_time;                 // of the last barrier of the whole grid
static unsigned synced[WARPS][32][32];     // [warp][lane a][lane b]: a knows what b did before this time
// A release stands for what its thread did before its fence (own), what its block did before a barrier
// (all), what the lanes of its warp did before a __syncwarp (lanes), and what was acquired by then.
// With __threadfence_block() it does so for its own block only.
struct Release { unsigned block, when, own, all, lanes[32], first_acquired, n_acquired; uint16_t thread; bool device; };
struct SyncVariable { uint64_t address; Release* log; unsigned n, room; };
struct Acquired { SyncVariable* variable; unsigned n, thread, time; };
static SyncVariable variables[4096];
static Acquired* acquired;  // of all blocks; those of this block begin at first_acquired
static unsigned n_acquired, first_acquired, acquired_room;
static bool any_fence;

static bool in_block_order(unsigned thread, unsigned time) {
  const Thread& t = me();
  if (thread == t.index || time < barrier_time) return true;
  return thread / 32 == t.index / 32 && time < synced[thread / 32][t.index % 32][thread % 32];
}
static bool stands_for(const Release& r, unsigned thread, unsigned time) {
  if (time < r.all || (r.thread == thread && time < r.own)) return true;
  return r.thread / 32 == thread / 32 && time < r.lanes[thread % 32];
}
static bool brings(const Acquired& a, unsigned to_block, const Who& who, int depth, int& patience) {
  for (unsigned k = a.n; k-- > 0 && patience-- > 0;) {
    const Release& r = a.variable->log[k];
    if (!r.device && r.block != to_block) continue;
    if (r.block == who.block && stands_for(r, who.thread(), who.time)) return true;
    for (unsigned i = r.first_acquired; depth > 0 && i < r.first_acquired + r.n_acquired; i++)
      if (stands_for(r, acquired[i].thread, acquired[i].time) && brings(acquired[i], r.block, who, depth - 1, patience)) return true;
  }
  return false;
}
static bool released_to_me(const Who& who) {
  int patience = 50000;  // chains of fences can be long; the search must end
  for (unsigned i = first_acquired; i < n_acquired; i++)
    if (in_block_order(acquired[i].thread, acquired[i].time) && brings(acquired[i], core.block, who, 8, patience)) return true;
  return false;
}
// An atomic of `who` on this very address, behind a fence, after which an atomic of my block came: the
// last of all blocks may set its counter back.
static bool counted_before_me(const Who& who, uint64_t address) {
  for (unsigned i = first_acquired; i < n_acquired; i++) {
    const Acquired& a = acquired[i];
    if (a.variable->address != address || !in_block_order(a.thread, a.time)) continue;
    for (unsigned k = 0; k < a.n; k++) {
      const Release& r = a.variable->log[k];
      if (r.block == who.block && r.thread == who.thread() && who.time <= r.when && (r.device || r.block == core.block)) return true;
    }
  }
  return false;
}
static void acquire(SyncVariable* v) {
  unsigned thread = me().index;
  for (unsigned i = n_acquired; i-- > first_acquired;) {  // once for each variable, thread and barrier
    Acquired& a = acquired[i];
    if (a.variable != v || a.thread != thread || in_block_order((thread + 32) % MAX_THREADS, a.time)) continue;
    a.n = v->n, a.time = now;
    return;
  }
  if (n_acquired == acquired_room) {
    acquired_room = 2 * acquired_room + 1024;
    acquired = (Acquired*)realloc((void*)acquired, acquired_room * sizeof *acquired);
  }
  acquired[n_acquired++] = {v, v->n, thread, now};
}
static bool ordered(const Who& who, uint64_t address) {
  if (who.time < grid_time || (who.block == core.block && in_block_order(who.thread(), who.time))) return true;
  if (!any_fence) return false;
  return released_to_me(who) || (access_of(who.kind()) == ATOMIC && counted_before_me(who, address));
}
static SyncVariable* variable_at(uint64_t address, bool make) {
  for (unsigned h = (unsigned)(address * 0x9e3779b97f4a7c15ull >> 52), n = 0; n < 64; n++, h = (h + 1) % 4096)
    if (variables[h].address == address || !variables[h].address) {
      if (!variables[h].address && !make) return nullptr;
      variables[h].address = address;
      return &variables[h];
    }
  return nullptr;
}
static void release(SyncVariable* v, Scope scope) {
  Thread& t = me();
  unsigned own = t.fence_time[scope], all = t.fence_barrier[scope] > block_fenced ? t.fence_barrier[scope] : block_fenced;
  if (v->n == v->room) v->log = (Release*)realloc((void*)v->log, (v->room = 2 * v->room + 16) * sizeof(Release));
  Release& r = v->log[v->n++];
  r.block = core.block, r.when = now++, r.own = own, r.all = all, r.thread = (uint16_t)t.index, r.device = scope == ON_DEVICE;
  r.first_acquired = first_acquired, r.n_acquired = n_acquired - first_acquired;
  for (unsigned j = 0; j < 32; j++) {
    unsigned known = synced[t.index / 32][t.index % 32][j];
    r.lanes[j] = known < own ? known : own;
  }
}
static void synchronize(uint64_t address, Kind kind) {  // an atomic takes what others released here, and releases
  SyncVariable* v = any_fence && kind != READS && !writes(kind) ? variable_at(address, kind != LOOKS) : nullptr;
  if (!v) return;
  if (v->n) acquire(v);
  if (kind == LOOKS) return;
  const unsigned* fence = me().fence_time;
  bool device = kind != ATOMICALLY_IN_BLOCK && fence[ON_DEVICE];
  if (device) release(v, ON_DEVICE);
  if (fence[IN_BLOCK] > (device ? fence[ON_DEVICE] : 0)) release(v, IN_BLOCK);
}
void fenced(Scope scope) {
  any_fence = true;
  now++;
  for (int s = IN_BLOCK; s <= scope; s++) me().fence_time[s] = now, me().fence_barrier[s] = barrier_time;
}
void lanes_synced(unsigned warp, unsigned lanes) {
  unsigned joined[32] = {}, time = ++now;
  for (unsigned l = 0; l < 32; l++)
    if (lanes >> l & 1)
      for (unsigned j = 0; j < 32; j++) joined[j] = synced[warp][l][j] > joined[j] ? synced[warp][l][j] : joined[j];
  for (unsigned j = 0; j < 32; j++) joined[j] = lanes >> j & 1 ? time : joined[j];
  for (unsigned l = 0; l < 32; l++)
    if (lanes >> l & 1) memcpy(synced[warp][l], joined, sizeof joined);
}

// ---- who touched what ------------------------------------------------------------------------------------
static Cell* shadow[MAX_SPANS];
static uint64_t covered[MAX_SPANS];          // so many bytes of each array have one
static unsigned* hits[MAX_SPANS];            // atomics, for every 4 bytes; made when the first one comes
static Cell* shared_shadow;
const size_t SHARED_CELLS = 3 * SHARED_BYTES / 4 * sizeof(Cell);  // most of them are never touched
#ifdef _WIN32
static void* zeros(size_t bytes) { return calloc(bytes, 1); }
static void drop(void* memory, size_t) { free(memory); }
#else  // calloc would fill them with zeros at every launch
static void* zeros(size_t bytes) { return mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON, -1, 0); }
static void drop(void* memory, size_t bytes) { munmap(memory, bytes); }
#endif
static uint8_t *written, *pending;           // of every byte of shared memory

static unsigned pcs[1 << 15], n_pcs = 1;     // every place of an access, with a number of 15 bits; 0: one too many
static uint16_t number_of[1 << 16];
static unsigned place_of(unsigned pc) {
  for (unsigned h = pc * 2654435761u >> 16;; h = (h + 1) % (1 << 16)) {
    if (!number_of[h]) {
      if (n_pcs == 1 << 15) return 0;
      pcs[n_pcs] = pc, number_of[h] = (uint16_t)n_pcs++;
    }
    if (pcs[number_of[h]] == pc) return number_of[h];
  }
}
static Fault* same_fault(int line, int other_line, int span) {
  for (unsigned i = 0; i < core.n_faults; i++) {
    Fault& f = core.faults[i];
    bool same = (f.line == line && f.other_line == other_line) || (f.line == other_line && f.other_line == line);
    if (same && f.span == span && strcmp(f.kind, "race") == 0) return &f;
  }
  return nullptr;
}
static void bounds_of(int span, uint64_t* start, uint64_t* end);
// Two accesses to one element, and nothing between them.
struct Meeting { Who before; unsigned thread, pc, bytes; int span; long long offset; Kind kind; uint64_t address; uint8_t old[16]; };
static void tell(Fault& f, const Meeting& m) {
  f.other_thread = m.before.thread(), f.other_block = m.before.block, f.other_access = access_of(m.before.kind());
  f.thread = m.thread, f.access = access_of(m.kind), f.span = m.span, f.offset = m.offset, f.bytes = m.bytes;
  f.pc = m.pc, f.other_pc = pcs[m.before.where()];
  uint64_t start = (uint64_t)core.shared, end;
  if (m.span < 0) bounds_of(m.span, &start, &end), f.offset -= (long long)(start - (uint64_t)core.shared);
}
static void race(const Meeting& m) {
  int line = line_of(m.pc), other_line = line_of(pcs[m.before.where()]);
  if (Fault* seen = same_fault(line, other_line, m.span)) { seen->count++; return; }
  Fault& f = new_fault("race", line);
  f.other_line = other_line;
  tell(f, m);
}
// Two writes: a race where they write different values. The second value is known when the next call
// of the compiler comes, but a read's: where a struct is copied, g++ announces what is written, then
// what is read, and then copies. `stored_at_once` is false where what is announced is written later.
static Meeting meetings[40];
static unsigned n_meetings;
static bool stored_at_once = true;
// Nobody else goes on while a copy is announced and not made: the read behind a write of as many bytes.
static bool in_copy;
static size_t announced;
static void look_at_values() {
  for (unsigned i = 0; i < n_meetings; i++) {
    const Meeting& m = meetings[i];
    if (memcmp((const void*)m.address, m.old, m.bytes)) { race(m); continue; }
    int line = line_of(m.pc), other_line = line_of(pcs[m.before.where()]);
    Fault& note = new_note("race", "same value", line, other_line);
    if (note.count == 1) tell(note, m);
  }
  n_meetings = 0;
}
static void meet(const Meeting& m) {
  if (!writes(m.kind) || !writes(m.before.kind()) || !stored_at_once || n_meetings == 40) { race(m); return; }
  meetings[n_meetings] = m;
  memcpy(meetings[n_meetings++].old, (const void*)m.address, m.bytes);
}
static bool against(const Who& w, Kind kind) {  // an access of `kind` now, if no order holds the two apart
  static const uint8_t conflicts[] = {0b1110110, 0b1111111, 0b0010011, 0b0010010, 0b1111111, 0b0010011, 0b0010011};
  bool block = kind == ATOMICALLY_IN_BLOCK || w.kind() == ATOMICALLY_IN_BLOCK;
  bool flag = (kind == SETS_FLAG && w.kind() == LOOKS) || (kind == LOOKS && w.kind() == SETS_FLAG);
  if (block && w.block != core.block) return true;  // atomic for its own block only
  if (flag && w.block == core.block && w.thread() / 32 == me().index / 32) return true;  // a warp does not run in step
  return conflicts[kind] >> w.kind() & 1;
}
// Who replaces whom: best an entry that this access covers (the same bytes, and in order before it:
// whoever races with the old one races with the new one), then one of the same warp, of the same block.
static int worth(const Who& w, const Who& mine, bool shared, bool before_me) {
  bool same_block = w.block == mine.block, same_kind = w.kind() == mine.kind();
  if (!w.mask() || (shared && !same_block)) return 6;
  bool covers = !(w.mask() & ~mine.mask()) && (same_kind || mine.kind() == WRITES);
  if (covers && same_block && w.thread() == mine.thread()) return 7;
  if (covers && before_me) return 5;
  if (!covers || !same_kind || !same_block) return access_of(w.kind()) == READ;
  return w.thread() / 32 == mine.thread() / 32 ? 3 : 2;
}
static void check_word(Cell& cell, const Who& mine, Meeting& m, bool& met) {
  bool shared = m.span < 0;
  int best = 0, value = -1;
  for (int i = 0; i < KEPT; i++) {
    const Who& w = cell.by[i];
    bool there = (w.mask() & mine.mask()) && (!shared || w.block == mine.block);
    bool before_me = there && ordered(w, m.address);
    if (there && !before_me && !met && against(w, m.kind)) met = true, m.before = w;
    int now_worth = worth(w, mine, shared, before_me);
    if (now_worth > value) best = i, value = now_worth;
  }
  cell.by[best] = mine;
}
static void check_race(Cell* cells, uint64_t offset, unsigned bytes, Kind kind, unsigned pc, int span, uint64_t address) {
  Meeting m = {{}, me().index, pc, bytes, span, (long long)offset, kind, address, {}};
  unsigned who = place_of(pc) | me().index << 15 | (unsigned)kind << 29;
  bool met = false;
  for (uint64_t at = offset; at < offset + bytes;) {
    uint64_t word = at / 4, until = 4 * (word + 1) < offset + bytes ? 4 * (word + 1) : offset + bytes;
    Who mine = {core.block, now, who | (((1u << (until - at)) - 1) << at % 4) << 25};
    Cell& cell = cells[word];
    bool again = false;  // the same access as before: an accumulator in memory
    for (const Who& w : cell.by) again |= w.packed == mine.packed && w.time == now && w.block == mine.block;
    if (!again) check_word(cell, mine, m, met);
    at = until;
  }
  if (met) meet(m);
}

// ---- where an address lies ---------------------------------------------------------------------------------
static int8_t page_span[1 << 16];  // the array on each page of the arena (pages are never shared by two)
static int find_span(uint64_t a) {
  if (a - watch.low < watch.high - watch.low) {
    uint64_t page = (a - watch.low) / PAGE;
    return page < sizeof page_span ? page_span[page] : NOWHERE;
  }
  for (unsigned i = watch.n_arrays; i < watch.n_spans; i++)
    if (a >= watch.start[i] && a < watch.end[i]) return (int)i;
  return NOWHERE;
}
static int find_shared(uint64_t offset) {  // the array, or the one that this address has run away from
  uint64_t dynamic = SHARED_BYTES / 256 * 256;
  if (offset >= dynamic) return DYNAMIC;
  int nearest = core.n_arrays ? STATIC : DYNAMIC;
  for (unsigned k = 0; k < core.n_arrays; k++)
    if (offset >= core.arrays[k].offset) nearest = STATIC - (int)k;
  return nearest;
}
static void count_hit(unsigned span, uint64_t a) {
  if (!hits[span]) hits[span] = (unsigned*)calloc((watch.end[span] - watch.start[span]) / 4 + 2, sizeof(unsigned));
  hits[span][(a - watch.start[span]) / 4]++;
}
static void bounds_of(int span, uint64_t* start, uint64_t* end) {
  if (span >= 0) *start = watch.start[span], *end = watch.end[span];
  else if (span == DYNAMIC) *start = (uint64_t)core.shared + SHARED_BYTES / 256 * 256, *end = *start + core.dynamic_bytes;
  else *start = (uint64_t)core.shared + core.arrays[STATIC - span].offset, *end = *start + core.arrays[STATIC - span].bytes;
}
static int nearest_array(uint64_t a) {
  int nearest = NOWHERE;
  uint64_t least = 1 << 26;  // farther away, it is a wild pointer
  for (unsigned i = 0; i < watch.n_spans; i++) {
    uint64_t away = a < watch.start[i] ? watch.start[i] - a : a >= watch.end[i] ? a - watch.end[i] + 1 : 0;
    if (away < least) least = away, nearest = (int)i;
  }
  return nearest;
}
[[noreturn]] static void refuse(const char* kind, Spot spot, int span, uint64_t a, unsigned bytes, Access access) {
  Fault& f = new_fault(kind, spot.line());
  uint64_t start = 0, end = 0;
  if (span != NOWHERE) bounds_of(span, &start, &end);
  f.span = span, f.offset = (long long)(a - start), f.bytes = bytes, f.access = access;
  leave();
}

// ---- counts: one event for each access of a thread, merged to requests of a warp ------------------------------
struct Event { uint64_t address; unsigned value; int16_t span; uint8_t bytes, access; };  // value: the first 4 bytes that were read
struct Stream { unsigned* keys; Event* events; unsigned n, room; };  // key: 2 pc, + 1 for a STEP, which has no event
static Stream streams[MAX_THREADS], spare[MAX_THREADS];  // spare: streams of warps that have ended
static unsigned n_spare;
const unsigned ROOM = 24 << 20, NOBODY = ~0u;  // events of all threads between two barriers: 480 MiB
static unsigned events_room;
static bool counts_cut;
static unsigned until, guesses;  // steps to the next look at where the kernel is; lines guessed since one was known
struct Site {
  bool used;
  unsigned pc;
  int span, access, bytes;
  uint64_t requests, lanes, sectors, wanted, passes, best, operations, addresses, worst, partial, partial_lanes;
  unsigned first_mask, first_block, first_warp;
  long long first[32];
};
static Site sites[2048];
struct Logged { unsigned block, thread, pc; Event event; };
static Logged* logged;
static unsigned n_logged;

static bool grow(Stream& s) {
  if (!s.room && n_spare) return s = spare[--n_spare], true;
  if (events_room > ROOM) return !(counts_cut = true);
  events_room += s.room + 64;
  s.room = 2 * s.room + 64;
  s.keys = (unsigned*)realloc((void*)s.keys, s.room * sizeof *s.keys);
  s.events = (Event*)realloc((void*)s.events, s.room * sizeof *s.events);
  return true;
}
static void note(uint64_t address, unsigned bytes, Access access, int span, unsigned pc) {
  Stream& s = streams[me().index];
  if (s.n == s.room && !grow(s)) return;
  unsigned value = 0;
  if (access == READ) memcpy(&value, (const void*)address, bytes < 4 ? bytes : 4);
  s.keys[s.n] = 2 * pc;
  s.events[s.n++] = {address, value, (int16_t)span, (uint8_t)bytes, (uint8_t)access};
  if (n_logged < watch.log_limit) logged[n_logged++] = {core.block, me().index, pc, s.events[s.n - 1]};
}
static void note_step(unsigned pc) {
  Stream& s = streams[me().index];
  if (s.n < s.room || grow(s)) s.keys[s.n++] = 2 * pc + 1;
}
static Site& site(unsigned pc, int span, int access) {
  for (unsigned h = (pc * 2654435761u ^ (unsigned)(span * 7 + access)) % 2048, n = 0;; h = (h + 1) % 2048, n++) {
    Site& s = sites[h];
    if (!s.used) s.used = true, s.pc = pc, s.span = span, s.access = access;
    if ((s.pc == pc && s.span == span && s.access == access) || n == 2047) return s;
  }
}
static unsigned sorted(uint64_t* a, unsigned n) {  // sorts; how many are different
  unsigned rising = 1;
  while (rising < n && a[rising] >= a[rising - 1]) rising++;
  for (unsigned i = rising; i < n; i++) {
    uint64_t x = a[i];
    unsigned k = i;
    for (; k > 0 && a[k - 1] > x; k--) a[k] = a[k - 1];
    a[k] = x;
  }
  unsigned different = n > 0;
  for (unsigned i = 1; i < n; i++) different += a[i] != a[i - 1];
  return different;
}
static unsigned bank_passes(const uint64_t* a, unsigned n, unsigned words) {  // 32 banks of 4 bytes
  uint64_t seen[32][32];
  unsigned in_bank[32] = {}, most = 0;
  for (unsigned i = 0; i < n * words; i++) {
    uint64_t word = a[i / words] / 4 + i % words;
    unsigned bank = word % 32, k = 0;
    while (k < in_bank[bank] && seen[bank][k] != word) k++;
    if (k == in_bank[bank] && k < 32) seen[bank][in_bank[bank]++] = word;
    most = in_bank[bank] > most ? in_bank[bank] : most;
  }
  return most;
}
static void count_shared(Site& s, const uint64_t* a, unsigned n) {
  unsigned words = s.bytes < 4 ? 1 : (unsigned)s.bytes / 4, at_once = 32 / words;  // 8 bytes: half a warp at a time
  uint64_t all[32];
  for (unsigned i = 0; i < n; i += at_once) s.passes += bank_passes(a + i, n - i < at_once ? n - i : at_once, words);
  for (unsigned i = 0; i < n; i++) all[i] = a[i] / (s.bytes < 4 ? 4 : (unsigned)s.bytes);
  s.best += (sorted(all, n) * words + 31) / 32;
}
static void count_atomics(Site& s, const uint64_t* sorted_addresses, unsigned n, unsigned different) {
  unsigned run = 1, worst = 1;
  for (unsigned i = 1; i < n; i++) {
    run = sorted_addresses[i] == sorted_addresses[i - 1] ? run + 1 : 1;
    worst = run > worst ? run : worst;
  }
  s.operations += n, s.addresses += different, s.worst = worst > s.worst ? worst : s.worst;
}
static void count_global(Site& s, uint64_t* a, unsigned n) {
  uint64_t sectors[64];
  unsigned m = 0;
  for (unsigned i = 0; i < n; i++)
    for (uint64_t k = a[i] / 32; k <= (a[i] + (unsigned)s.bytes - 1) / 32 && m < 64; k++)
      if (!m || sectors[m - 1] != k) sectors[m++] = k;
  s.sectors += sorted(sectors, m);
  unsigned different = sorted(a, n);
  s.wanted += different * (unsigned)s.bytes;
  if (s.access == ATOMIC) count_atomics(s, a, n, different);
}
static void count_lanes(Site& s, unsigned warp, unsigned active) {
  unsigned n = (unsigned)__builtin_popcount(active);
  s.requests++, s.lanes += n;
  if (active != lanes_of(warp)) s.partial++, s.partial_lanes += n;
}
static void keep_example(Site& s, unsigned warp, unsigned active, const unsigned* at) {  // the fullest one, for the picture
  uint64_t start, end;
  bounds_of(s.span, &start, &end);
  s.first_mask = active, s.first_block = core.block, s.first_warp = warp;
  for (unsigned l = 0; l < 32; l++)
    s.first[l] = active >> l & 1 ? (long long)(streams[32 * warp + l].events[at[l]].address - start) : -1;
}
static void request(unsigned warp, unsigned active, const unsigned* at) {
  const Stream* lanes = streams + 32 * warp;
  unsigned leader = (unsigned)__builtin_ctz(active), n = 0, key = lanes[leader].keys[at[leader]];
  if (key & 1) {
    count_lanes(site(key / 2, NOWHERE, STEP), warp, active);
    return;
  }
  const Event& like = lanes[leader].events[at[leader]];
  Site& s = site(key / 2, like.span, like.access);
  uint64_t a[32];
  for (unsigned l = 0; l < 32; l++)
    if (active >> l & 1) a[n++] = lanes[l].events[at[l]].address;
  s.bytes = like.bytes;
  count_lanes(s, warp, active);
  if (__builtin_popcount(active) > __builtin_popcount(s.first_mask)) keep_example(s, warp, active, at);
  if (like.span >= 0) count_global(s, a, n);
  else {
    count_shared(s, a, n);
    if (s.access == ATOMIC) count_atomics(s, a, n, sorted(a, n));
  }
}
// The lanes of a warp ran one after another here. On a GPU they run together, and where they part
// they meet again: at every step the lanes with the smallest program counter go on.
static void merge(unsigned warp) {
  Stream* lanes = streams + 32 * warp;
  unsigned at[32] = {}, exist = lanes_of(warp);
  bool alike = exist == ~0u;
  for (unsigned l = 1; l < 32 && alike; l++)
    alike = lanes[l].n == lanes[0].n && memcmp(lanes[l].keys, lanes[0].keys, lanes[0].n * sizeof(unsigned)) == 0;
  for (unsigned i = 0; alike && i < lanes[0].n; i++) {
    for (unsigned l = 0; l < 32; l++) at[l] = i;
    request(warp, ~0u, at);
  }
  while (!alike) {
    unsigned least = NOBODY, active = 0;
    for (unsigned l = 0; l < 32; l++)
      if ((exist >> l & 1) && at[l] < lanes[l].n && lanes[l].keys[at[l]] < least) least = lanes[l].keys[at[l]];
    if (least == NOBODY) break;
    for (unsigned l = 0; l < 32; l++)
      if ((exist >> l & 1) && at[l] < lanes[l].n && lanes[l].keys[at[l]] == least) active |= 1u << l;
    request(warp, active, at);
    for (unsigned l = 0; l < 32; l++) at[l] += active >> l & 1;
  }
  for (unsigned l = 0; l < 32; l++) {
    lanes[l].n = 0;
    if (lanes[l].room) spare[n_spare++] = lanes[l], lanes[l] = {};
  }
}
static void merge_all() {
  for (unsigned w = 0; 32 * w < core.n_threads; w++) merge(w);
}

// ---- guesses: a plain read whose value a compare-and-swap then confirms -----------------------------------------
static unsigned guessed[64], n_guessed;  // the places of such reads
void compares(const volatile void* pointer, unsigned bytes, const void* expected) {
  if (!here) return;
  const Stream& s = streams[me().index];
  uint64_t a = (uint64_t)pointer;
  unsigned value = 0, n = 0;
  memcpy(&value, expected, bytes < 4 ? bytes : 4);
  for (unsigned i = s.n; i-- > 0 && n++ < 500;) {
    if ((s.keys[i] & 1) || s.events[i].address != a || s.events[i].access != READ) continue;
    if (s.events[i].value == value && n_guessed < 64) guessed[n_guessed++] = s.keys[i] / 2;
    return;
  }
}
static bool is_guess(unsigned pc) {
  for (unsigned i = 0; i < n_guessed; i++)
    if (guessed[i] == pc) return true;
  return false;
}
static void reconsider() {  // now all guesses are known: a race of one with an atomic is only noted
  unsigned kept = 0;
  for (unsigned i = 0; i < core.n_faults; i++) {
    const Fault& f = core.faults[i];
    bool guess = strcmp(f.kind, "race") == 0 && ((f.access == READ && f.other_access == ATOMIC && is_guess(f.pc)) ||
                                                 (f.access == ATOMIC && f.other_access == READ && is_guess(f.other_pc)));
    if (!guess) { core.faults[kept++] = f; continue; }
    Fault& note = new_note("race", "guess", f.line, f.other_line);
    if (note.count == 1) note = f, note.why = "guess";
  }
  core.n_faults = kept;
}

// ---- a study: every access to an element, so that the advice on its race is right ----------------------------------
struct Told { unsigned element, thread, epoch, round, pc; int access; };
static Told accesses[512];
static unsigned n_accesses;
// In which round of its loops a thread is: how often it has come by the place where it was most often.
static unsigned rounds() {
  static unsigned count[1024];
  unsigned most = 0;
  const Stream& s = streams[me().index];
  memset(count, 0, sizeof count);
  for (unsigned i = 0; i < s.n; i++) {
    if (!(s.keys[i] & 1)) continue;
    unsigned n = ++count[s.keys[i] * 2654435761u >> 22];
    most = n > most ? n : most;
  }
  return most;
}
static void study(uint64_t offset, unsigned bytes, Access access, int span, unsigned pc) {
  for (unsigned i = 0; i < watch.n_studied && n_accesses < 512; i++) {
    const Watch::Element& e = watch.studied[i];
    bool there = (long long)offset < e.offset + e.bytes && (long long)(offset + bytes) > e.offset;
    if (there && e.span == span && e.block == core.block)
      accesses[n_accesses++] = {i, me().index, barrier_time, rounds(), pc, access};
  }
}
static void write_study(Text& json) {
  json.add(",\"studied\":[");
  for (unsigned i = 0; i < n_accesses; i++) {
    const Told& t = accesses[i];
    json.add("%s[%u,%u,%d,%u,%u,%d]", i ? "," : "", t.element, t.thread, t.access, t.epoch, t.round, line_of(t.pc));
  }
  json.add("]");
}

// ---- what the scheduler tells -----------------------------------------------------------------------------------
void launch_starts() {
  sort_labels();
  memset((void*)sites, 0, sizeof sites);
  memset((void*)known, 0, sizeof known);
  for (SyncVariable& v : variables) v.address = 0, v.n = 0;
  shared_shadow = (Cell*)zeros(SHARED_CELLS);
  written = (uint8_t*)calloc(3 * SHARED_BYTES, 1), pending = (uint8_t*)calloc(3 * SHARED_BYTES, 1);
  memset(core.shared, 0xff, 3 * SHARED_BYTES);
  counts_cut = any_fence = in_atomic = in_copy = false, stored_at_once = true, announced = 0;
  now = 1, grid_time = 0, until = 4093, n_logged = guesses = n_acquired = first_acquired = n_meetings = n_guessed = n_accesses = 0;
  memset(synced, 0, sizeof synced);
}
void block_starts() {
  watch.progress[4] = nanoseconds();
  barrier_time = ++now, block_fenced = 0, first_acquired = n_acquired;
  unsigned dynamic = SHARED_BYTES / 256 * 256;  // what the last block left is worth nothing
  memset(core.shared, 0xff, core.static_bytes);
  memset(core.shared + dynamic, 0xff, core.dynamic_bytes);
  memset(written, 0, core.static_bytes), memset(pending, 0, core.static_bytes);
  memset(written + dynamic, 0, core.dynamic_bytes), memset(pending + dynamic, 0, core.dynamic_bytes);
}
void thread_ends(unsigned thread) {
  unsigned warp = thread / 32;
  if ((core.lanes_done[warp] & lanes_of(warp)) == lanes_of(warp)) merge(warp);
}
void barrier_passed() {
  bool all_fenced = any_fence;
  for (unsigned i = 0; all_fenced && i < core.n_threads; i++) all_fenced = core.threads[i].fence_time[ON_DEVICE] >= core.threads[i].wrote;
  barrier_time = ++now;
  if (all_fenced) block_fenced = barrier_time;
  merge_all();
}
void block_ends() {
  look_at_values();
  merge_all();
  watch.progress[3]++;
}
// A barrier of the whole grid: what a block has in shared memory, and the notes on it, are kept until it goes on.
void block_parks(char* kept) {
  look_at_values();
  merge_all();
  kept = keep_shared((char*)written, kept, core.static_bytes, false);
  keep_shared((char*)pending, kept, core.static_bytes, false);
}
void block_goes_on(char* kept, unsigned static_bytes) {
  kept = keep_shared((char*)written, kept, static_bytes, true);
  keep_shared((char*)pending, kept, static_bytes, true);
}
void grid_passed() { grid_time = ++now; }
// Every kernel has its own library, and each of them this memory: kept, 300 kernels took 11 GiB.
void launch_ends() {
  drop((void*)shared_shadow, SHARED_CELLS), free(written), free(pending);
  shared_shadow = nullptr, written = pending = nullptr;
  for (Cell*& cells : shadow) free((void*)cells), cells = nullptr;
  for (Stream& s : streams)  // there are some where the launch has failed
    if (s.room) spare[n_spare++] = s, s = {};
  while (n_spare) n_spare--, free(spare[n_spare].keys), free(spare[n_spare].events);
  events_room = 0;
  reconsider();
}
void copy_pending(const void* shared, unsigned bytes, bool on) {
  uint64_t offset = (uint64_t)shared - (uint64_t)core.shared;
  if (offset + bytes <= 3 * SHARED_BYTES) memset(pending + offset, on, bytes);
}

// ---- an access -----------------------------------------------------------------------------------------------------
static void check_shared(uint64_t offset, unsigned bytes, Access access, Spot spot, int span, uint64_t a) {
  for (unsigned i = 0; i < bytes; i++) {
    if (pending[offset + i]) refuse("async copy", spot, span, a, bytes, access);
    if (access == WRITE) written[offset + i] = 1;
    else if (!written[offset + i]) refuse("uninitialized shared memory", spot, span, a, bytes, access);
  }
}
static int check_place(uint64_t a, unsigned bytes, Access access, Spot spot) {
  bool in_shared = a - (uint64_t)core.shared < 3 * SHARED_BYTES;
  int span = in_shared ? find_shared(a - (uint64_t)core.shared) : find_span(a);
  if (span == NOWHERE) {
    int nearest = nearest_array(a);
    refuse(nearest == NOWHERE ? "wild pointer" : "out of bounds", spot, nearest, a, bytes, access);
  }
  uint64_t start, end;
  bounds_of(span, &start, &end);
  if (a < start || a + bytes > end) refuse("out of bounds", spot, span, a, bytes, access);
  if ((bytes & (bytes - 1)) == 0 && a % bytes) refuse("misaligned", spot, span, a, bytes, access);
  if (span >= 0 && access != READ && !watch.writable[span]) refuse("read-only", spot, span, a, bytes, access);
  return span;
}
static void record_as(const volatile void* pointer, unsigned bytes, Kind kind, int told, const void* caller) {
  uint64_t a = (uint64_t)pointer;
  if (!here || in_atomic || !bytes || (a - watch.low >= watch.high - watch.low && on_stack(me(), a))) return;  // a local variable
  if (core.order && !n_meetings && !in_copy && coin(watch.interrupt)) yield();
  Access access = access_of(kind);
  if (kind == STORES && me().fence_time[IN_BLOCK]) kind = SETS_FLAG;
  unsigned pc = (unsigned)((uint64_t)caller - base);
  if (told) know(pc, told);
  const Spot spot = {told, pc};
  uint64_t in_shared = a - (uint64_t)core.shared;
  int span = find_span(a);
  bool whole = span >= 0 && a + bytes <= watch.end[span] && a >= watch.start[span] && !(a & ((bytes & -bytes) - 1));
  if (!whole && access == READ && a - watch.image_low < watch.image_high - watch.image_low) return;  // a constant table
  if (!whole || (access != READ && !watch.writable[span]))
    span = check_place(a, bytes, access, spot);
  if (span < 0) {
    check_shared(in_shared, bytes, access, spot, span, a);
    check_race(shared_shadow, in_shared, bytes, kind, pc, span, a);
  } else {
    if (a - watch.start[span] < covered[span]) check_race(shadow[span], a - watch.start[span], bytes, kind, pc, span, a);
    if (access == ATOMIC) count_hit((unsigned)span, a);
  }
  if (kind != READS && kind != WRITES) synchronize(a, kind);
  if (access != READ && span >= 0) me().wrote = now;
  note(a, bytes, access, span, pc);
  if (watch.n_studied) {
    uint64_t start, end;
    bounds_of(span, &start, &end);
    study(a - start, bytes, access, span, pc);
  }
}
void record(const volatile void* pointer, unsigned bytes, Access access, int told, const void* caller) {
  look_at_values();
  stored_at_once = false;  // an asynchronous copy writes when it likes
  record_as(pointer, bytes, (Kind)access, told, caller);
  stored_at_once = true;
}
void touch_atomic(const volatile void* address, unsigned bytes, int line, Scope scope) {
  look_at_values();
  record_as(address, bytes, scope == IN_BLOCK ? ATOMICALLY_IN_BLOCK : ATOMICALLY, line, __builtin_return_address(0));
}
uint3 thread_index() { return here->threadIdx; }
uint3 block_index() { return here->blockIdx; }
dim3 block_size() { return here->blockDim; }
dim3 grid_size() { return here->gridDim; }

// ---- setting up and reporting -----------------------------------------------------------------------------------------
static void make_shadow(unsigned span, uint64_t* left) {
  uint64_t words = watch.writable[span] ? (watch.end[span] - watch.start[span] + 3) / 4 : 0, room = *left / sizeof(Cell) / 4 * 4;
  if (words > room) words = room;  // races are looked for in the first part of the array only
  *left -= words * sizeof(Cell);
  covered[span] = 4 * words;
  shadow[span] = words ? (Cell*)calloc(words + 4, sizeof(Cell)) : nullptr;
}
CUDA_ON_CPU_EXPORT void cuda_on_cpu_watch(const Watch* given) {
  for (unsigned i = 0; i < MAX_SPANS; i++) {
    free((void*)shadow[i]), free(hits[i]);
    shadow[i] = nullptr, hits[i] = nullptr;
  }
  watch = *given;
  uint64_t left = watch.shadow_limit;
  memset(page_span, NOWHERE, sizeof page_span);
  for (unsigned i = 0; i < watch.n_spans; i++) {
    make_shadow(i, &left);
    if (i >= watch.n_arrays) continue;
    for (uint64_t p = (watch.start[i] - watch.low) / PAGE; p <= (watch.end[i] - watch.low) / PAGE && p < sizeof page_span; p++)
      page_span[p] = (int8_t)i;
  }
  logged = (Logged*)realloc((void*)logged, (watch.log_limit + 1) * sizeof(Logged));
}
static void write_site(Text& json, const Site& s, bool first) {
  json.add("%s{\"line\":%d,\"span\":%d,\"access\":%d,\"bytes\":%d,", first ? "" : ",", line_of(s.pc), s.span, s.access, s.bytes);
  json.add("\"requests\":%llu,\"lanes\":%llu,\"partial\":%llu,\"sectors\":%llu,\"wanted\":%llu,", (unsigned long long)s.requests,
           (unsigned long long)s.lanes, (unsigned long long)s.partial, (unsigned long long)s.sectors, (unsigned long long)s.wanted);
  json.add("\"passes\":%llu,\"best\":%llu,\"operations\":%llu,\"addresses\":%llu,\"worst\":%llu,", (unsigned long long)s.passes,
           (unsigned long long)s.best, (unsigned long long)s.operations, (unsigned long long)s.addresses, (unsigned long long)s.worst);
  json.add("\"partial_lanes\":%llu,", (unsigned long long)s.partial_lanes);
  json.add("\"block\":%u,\"warp\":%u,\"pc\":%u,\"example\":[", s.first_block, s.first_warp, s.pc);
  for (unsigned l = 0; l < 32 && s.access != STEP; l++) json.add("%s%lld", l ? "," : "", s.first_mask >> l & 1 ? s.first[l] : -1ll);
  json.add("]}");
}
static void write_hot(Text& json) {  // the address of each array that most atomics hit
  json.add("],\"hot\":[");
  bool first = true;
  for (unsigned i = 0; i < watch.n_spans; i++) {
    uint64_t words = hits[i] ? (watch.end[i] - watch.start[i] + 3) / 4 : 0, most = 0;
    for (uint64_t w = 0; w < words; w++) most = hits[i][w] > hits[i][most] ? w : most;
    if (!words || !hits[i][most]) continue;
    json.add("%s{\"span\":%u,\"offset\":%llu,\"hits\":%u}", first ? "" : ",", i, (unsigned long long)(4 * most), hits[i][most]);
    first = false;
  }
}
void write_counts(Text& json) {
  json.add(",\"steps\":%llu,\"counts_cut\":%d,\"unchecked\":[", (unsigned long long)core.steps, counts_cut);
  bool any = false;
  for (unsigned i = 0; i < watch.n_spans; i++) {
    uint64_t bytes = watch.end[i] - watch.start[i];
    if (watch.writable[i] && covered[i] < bytes) json.add("%s[%u,%llu]", any ? "," : "", i, (unsigned long long)covered[i]), any = true;
  }
  json.add("],\"sites\":[");
  bool first = true;
  for (const Site& s : sites)
    if (s.used) write_site(json, s, first), first = false;
  write_hot(json);
  json.add("],\"shared_arrays\":[");
  for (unsigned k = 0; k < core.n_arrays; k++)
    json.add("%s[\"%s\",%u,%d]", k ? "," : "", core.arrays[k].names, core.arrays[k].bytes, core.arrays[k].line);
  json.add("],\"log\":[");
  for (unsigned i = 0; i < n_logged; i++) {
    const Logged& l = logged[i];
    uint64_t start, end;
    bounds_of(l.event.span, &start, &end);
    json.add("%s[%u,%u,%d,%d,%d,%llu,%d]", i ? "," : "", l.block, l.thread, line_of(l.pc), l.event.access, l.event.span,
             (unsigned long long)(l.event.address - start), l.event.bytes);
  }
  json.add("]");
  write_study(json);
}

// ---- the functions that the compiler calls -------------------------------------------------------------------------------
// The compiler has joined narrower accesses, knowing that a CPU does not mind: they are taken apart again.
static void pieces(const void* address, size_t bytes, Kind kind, const void* pc) {
  for (uint64_t a = (uint64_t)address, end = a + bytes, size; a < end; a += size) {
    size = a % 4 == 0 && end - a >= 4 ? 4 : a % 2 == 0 && end - a >= 2 ? 2 : 1;
    record_as((const void*)a, (unsigned)size, kind, 0, pc);
    in_copy = true;
  }
}
static void begin_access(size_t bytes, Kind kind) {
  if (n_meetings && kind != READS) look_at_values();
  in_copy = kind == READS && bytes == announced;
}
static void end_access(size_t bytes, Kind kind) {
  in_copy = false;
  announced = kind == WRITES && bytes >= 8 ? bytes : 0;
}
static void many(const void* address, size_t bytes, Kind kind, const void* pc) {
  begin_access(bytes, kind);
  stored_at_once = bytes <= 32;  // `meetings` has room for the five of each word
  pieces(address, bytes, kind, pc);
  stored_at_once = true;
  end_access(bytes, kind);
}
#define CUDA_ON_CPU_HOOK(NAME, N, KIND)                                                                                         \
  CUDA_ON_CPU_EXPORT void __tsan_##NAME##N(void* a) {                                                                           \
    begin_access(N, KIND);                                                                                                      \
    record_as(a, N, KIND, 0, __builtin_return_address(0));                                                                      \
    end_access(N, KIND);                                                                                                        \
  }                                                                                                                             \
  CUDA_ON_CPU_EXPORT void __tsan_unaligned_##NAME##N(void* a) {                                                                 \
    begin_access(N, KIND);                                                                                                      \
    pieces(a, N, KIND, __builtin_return_address(0));                                                                            \
    end_access(N, KIND);                                                                                                        \
  }
#define CUDA_ON_CPU_HOOKS(N)                                                                                                    \
  CUDA_ON_CPU_HOOK(read, N, READS) CUDA_ON_CPU_HOOK(write, N, WRITES)                                                           \
  CUDA_ON_CPU_HOOK(volatile_read, N, LOOKS) CUDA_ON_CPU_HOOK(volatile_write, N, STORES)
CUDA_ON_CPU_HOOKS(1) CUDA_ON_CPU_HOOKS(2) CUDA_ON_CPU_HOOKS(4) CUDA_ON_CPU_HOOKS(8) CUDA_ON_CPU_HOOKS(16)
CUDA_ON_CPU_EXPORT void __tsan_vptr_update(void* a, void*) { record_as(a, 8, WRITES, 0, __builtin_return_address(0)); }
CUDA_ON_CPU_EXPORT void __tsan_vptr_read(void* a) { record_as(a, 8, READS, 0, __builtin_return_address(0)); }
CUDA_ON_CPU_EXPORT void __tsan_init() {}
CUDA_ON_CPU_EXPORT void __tsan_func_entry(void*) {}
CUDA_ON_CPU_EXPORT void __tsan_func_exit() {}
CUDA_ON_CPU_EXPORT void __tsan_read_range(void* a, size_t n) { many(a, n, READS, __builtin_return_address(0)); }
CUDA_ON_CPU_EXPORT void __tsan_write_range(void* a, size_t n) { many(a, n, WRITES, __builtin_return_address(0)); }
CUDA_ON_CPU_EXPORT void* __tsan_memcpy(void* to, const void* from, size_t n) {
  many(from, n, READS, __builtin_return_address(0));
  many(to, n, WRITES, __builtin_return_address(0));
  return memcpy(to, from, n);
}
CUDA_ON_CPU_EXPORT void* __tsan_memmove(void* to, const void* from, size_t n) {
  many(from, n, READS, __builtin_return_address(0));
  many(to, n, WRITES, __builtin_return_address(0));
  return memmove(to, from, n);
}
CUDA_ON_CPU_EXPORT void* __tsan_memset(void* to, int value, size_t n) {
  many(to, n, WRITES, __builtin_return_address(0));
  return memset(to, value, n);
}
CUDA_ON_CPU_EXPORT void __sanitizer_cov_trace_pc() {  // in every basic block
  if (!here || in_atomic) return;
  unsigned pc = (unsigned)((uint64_t)__builtin_return_address(0) - base);
  if (n_meetings) look_at_values();
  core.steps++;
  if (--until == 0) {  // a prime number of steps, so as not to fall into step with a loop
    until = 4093;
    int line = told_line(pc);
    guesses = line > 0 ? 0 : guesses + 1;  // a guess is taken where there is nothing better for long
    uint64_t at[3] = {line > 0 || guesses > 50 ? (uint64_t)abs(line) : watch.progress[0], me().index, core.block};
    memcpy(watch.progress, at, sizeof at);
    yield();  // a thread that waits for another lets it run
  }
  note_step(pc);
}
struct Place { const char* file; unsigned line, column; };
struct TypeName { uint16_t kind, info; char name[1]; };
struct OutOfBounds { Place place; TypeName *array, *index; };
CUDA_ON_CPU_EXPORT void __ubsan_handle_out_of_bounds(OutOfBounds* data, uintptr_t index) {
  if (here) stop("array index", (int)data->place.line, "%lld %s", (long long)index, data->array->name);
}
CUDA_ON_CPU_EXPORT void __ubsan_handle_divrem_overflow(Place* place, uintptr_t, uintptr_t) {
  if (here) stop("division by zero", (int)place->line, "integer");
}
}  // namespace cuda_on_cpu
