/*
 * The machine that a simulated run sees, in the place of this one: its entropy, its clocks, and when its
 * threads run. It is loaded before the C library (LD_PRELOAD), so that production code, the standard
 * library and AWS-LC ask it and are changed in nothing.
 *
 * Entropy: one stream of each thread, from SIMULATION_SEED. AWS-LC seeds itself from the operating
 * system alone where the machine may be a snapshot, which the file /dev/sysgenid tells; the processor's
 * own generator is switched off by OPENSSL_ia32cap, which whoever starts the program has to set.
 *
 * Clocks: all of them say what the first eight bytes of the file SIMULATION_CLOCK say, nanoseconds since
 * 1970. It stands still unless that file is written.
 *
 * Disk: files are as they were written, and beside them, in the folder SIMULATION_DISK, lies what of each is
 * on the disk, by the number of its inode: what was written before the last fsync of it that did
 * something. Those of a thread whose name SIMULATION_FORGETS begins do nothing. A name is on the disk
 * at once.
 *
 * Threads: one at a time. The first thread runs until it waits or yields; then the others run, each
 * until it waits, in an order that the seed draws, until none of them can; then the first again. A wait
 * with a timeout times out when nothing else can run; then it is as late.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define MOST_THREADS 128
#define MOST_FILES 65536
#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

enum state { FREE, READY, RUNNING, WAITING };

struct thread {
  enum state state;
  pthread_cond_t turn;
  pthread_t id;
  void *(*begin)(void *);
  void *with;
  /* What it waits for: a futex, or the end of another thread. */
  uint32_t *address;
  pthread_t joined;
  int is_timed;
  /* When, by the clocks that are shown. */
  int64_t until;
  int is_woken;
  uint64_t since;
};

static pthread_mutex_t baton = PTHREAD_MUTEX_INITIALIZER;
static struct thread threads[MOST_THREADS] = {
    {.state = RUNNING, .turn = PTHREAD_COND_INITIALIZER}};
static int running;
static uint64_t waits, draws, made;
static __thread int self;
static __thread uint64_t stream;
static uint64_t seed;
static const volatile int64_t *nanoseconds;
/* Clocks say no less than this: a wait timed out where the first thread could not go on. */
static volatile int64_t skipped;
static const char *disk, *forgets;

static uint64_t mixed(uint64_t z) {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

static uint64_t next(uint64_t *of) { return mixed(*of += 0x9e3779b97f4a7c15u); }

__attribute__((constructor)) static void begin(void) {
  const char *given = getenv("SIMULATION_SEED"), *clock = getenv("SIMULATION_CLOCK");
  seed = mixed((given ? strtoull(given, NULL, 10) : 0) + 1);
  stream = seed;
  draws = ~seed;
  disk = getenv("SIMULATION_DISK");
  forgets = getenv("SIMULATION_FORGETS");
  int file = clock ? open(clock, O_RDONLY | O_CLOEXEC) : -1;
  if (file < 0) return;
  void *mapped = mmap(NULL, sizeof *nanoseconds, PROT_READ, MAP_SHARED, file, 0);
  if (mapped != MAP_FAILED) nanoseconds = mapped;
  close(file);
}

/* Entropy. */

static ssize_t fill(void *buffer, size_t length) {
  for (size_t done = 0; done < length;) {
    uint64_t word = next(&stream);
    size_t left = length - done, part = left < sizeof word ? left : sizeof word;
    memcpy((char *)buffer + done, &word, part);
    done += part;
  }
  return (ssize_t)length;
}

ssize_t getrandom(void *buffer, size_t length, unsigned flags) {
  (void)flags;
  return fill(buffer, length);
}

int getentropy(void *buffer, size_t length) { return fill(buffer, length) < 0; }

int stat(const char *restrict path, struct stat *restrict found) {
  if (strcmp(path, "/dev/sysgenid") != 0) return REAL(stat)(path, found);
  memset(found, 0, sizeof *found);
  return 0;
}

/* Clocks. */

int clock_gettime(clockid_t which, struct timespec *now) {
  int is_ours = which <= CLOCK_MONOTONIC || (which >= CLOCK_MONOTONIC_RAW && which <= CLOCK_BOOTTIME);
  if (!nanoseconds || !is_ours) {
    static __typeof__(&clock_gettime) real;
    if (!real) real = REAL(clock_gettime);
    return real(which, now);
  }
  int64_t shown = *nanoseconds > skipped ? *nanoseconds : skipped;
  now->tv_sec = shown / 1000000000;
  now->tv_nsec = shown % 1000000000;
  return 0;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
  (void)zone;
  struct timespec it;
  clock_gettime(CLOCK_REALTIME, &it);
  now->tv_sec = it.tv_sec;
  now->tv_usec = it.tv_nsec / 1000;
  return 0;
}

time_t time(time_t *now) {
  struct timespec it;
  clock_gettime(CLOCK_REALTIME, &it);
  if (now) *now = it.tv_sec;
  return it.tv_sec;
}

/* Disk. A file is written by one thread at a time, as everything is. */

struct file {
  ino_t number;
  off_t from, to;
};

static struct file unsynced[MOST_FILES];

static struct file *of(ino_t number) {
  size_t place = (size_t)mixed(number) % MOST_FILES, tried = 0;
  while (unsynced[place].number != 0 && unsynced[place].number != number) {
    if (++tried == MOST_FILES) abort();
    place = (place + 1) % MOST_FILES;
  }
  unsynced[place].number = number;
  return &unsynced[place];
}

static void wrote(int descriptor, off_t from, ssize_t count) {
  struct stat found;
  if (!disk || count <= 0 || fstat(descriptor, &found) != 0 || !S_ISREG(found.st_mode)) return;
  int error = errno;
  if (from < 0) from = lseek(descriptor, 0, SEEK_CUR) - count;
  struct file *file = of(found.st_ino);
  if (file->to == 0 || from < file->from) file->from = from;
  if (from + count > file->to) file->to = from + count;
  errno = error;
}

static __typeof__(&pwrite) real_pwrite(void) {
  static __typeof__(&pwrite) real;
  if (!real) real = REAL(pwrite);
  return real;
}

ssize_t write(int descriptor, const void *bytes, size_t count) {
  static __typeof__(&write) real;
  if (!real) real = REAL(write);
  ssize_t written = real(descriptor, bytes, count);
  if (descriptor > 2) wrote(descriptor, -1, written);
  return written;
}

ssize_t pwrite(int descriptor, const void *bytes, size_t count, off_t from) {
  ssize_t written = real_pwrite()(descriptor, bytes, count, from);
  wrote(descriptor, from, written);
  return written;
}

ssize_t pwrite64(int descriptor, const void *bytes, size_t count, off64_t from) {
  return pwrite(descriptor, bytes, count, from);
}

static int is_forgotten(void) {
  char name[16] = "";
  prctl(PR_GET_NAME, name);
  return forgets && strncmp(name, forgets, strlen(forgets)) == 0;
}

/* Puts what was written since the last time beside the file. */
static int synced(int descriptor) {
  struct stat found;
  if (!disk || fstat(descriptor, &found) != 0 || !S_ISREG(found.st_mode)) return 0;
  if (is_forgotten()) return 0;
  struct file *file = of(found.st_ino);
  char path[64], there[512], block[16384];
  snprintf(path, sizeof path, "/proc/self/fd/%d", descriptor);
  snprintf(there, sizeof there, "%s/%llu", disk, (unsigned long long)found.st_ino);
  int from = open(path, O_RDONLY | O_CLOEXEC), to = open(there, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  if (from < 0 || to < 0) abort();
  for (off_t at = file->from; at < file->to;) {
    size_t left = (size_t)(file->to - at);
    ssize_t count = pread(from, block, left < sizeof block ? left : sizeof block, at);
    if (count <= 0) break;
    if (real_pwrite()(to, block, (size_t)count, at) != count) abort();
    at += count;
  }
  if (ftruncate(to, found.st_size) != 0) abort();
  file->from = file->to = 0;
  close(from);
  close(to);
  return 0;
}

int fsync(int descriptor) { return synced(descriptor); }

int fdatasync(int descriptor) { return synced(descriptor); }

/* Threads. Whoever calls what follows holds the baton. */

static int choose(void) {
  int ready = 0, chosen = -1;
  for (int i = 1; i < MOST_THREADS; i++) ready += threads[i].state == READY;
  if (ready > 0) {
    int drawn = (int)(next(&draws) % (uint64_t)ready);
    for (int i = 1; i < MOST_THREADS; i++)
      if (threads[i].state == READY && drawn-- == 0) return i;
  }
  if (threads[0].state == READY || (threads[0].state == WAITING && threads[0].is_timed)) return 0;
  for (int i = 1; i < MOST_THREADS; i++) {
    struct thread *it = &threads[i];
    int is_first = chosen < 0 || it->since < threads[chosen].since;
    if (it->state == WAITING && it->is_timed && is_first) chosen = i;
  }
  if (chosen >= 0) {
    if (threads[chosen].until > skipped) skipped = threads[chosen].until;
    return chosen;
  }
  fprintf(stderr, "every thread waits for another\n");
  abort();
}

static void pass(void) {
  running = choose();
  threads[running].state = RUNNING;
  pthread_cond_signal(&threads[running].turn);
}

static void pass_and_wait(void) {
  pass();
  while (running != self) pthread_cond_wait(&threads[self].turn, &baton);
}

static long wait_for(uint32_t *address, uint32_t expected, const struct timespec *until) {
  pthread_mutex_lock(&baton);
  if (__atomic_load_n(address, __ATOMIC_SEQ_CST) != expected) {
    pthread_mutex_unlock(&baton);
    errno = EAGAIN;
    return -1;
  }
  struct thread *me = &threads[self];
  me->address = address;
  me->is_timed = until != NULL;
  me->until = until ? until->tv_sec * 1000000000 + until->tv_nsec : 0;
  me->is_woken = 0;
  me->since = waits++;
  me->state = WAITING;
  pass_and_wait();
  me->address = NULL;
  int is_woken = me->is_woken;
  pthread_mutex_unlock(&baton);
  if (is_woken) return 0;
  errno = ETIMEDOUT;
  return -1;
}

static long wake(uint32_t *address, uint32_t most) {
  long woken = 0;
  pthread_mutex_lock(&baton);
  while (woken < (long)most) {
    int first = -1;
    for (int i = 0; i < MOST_THREADS; i++) {
      struct thread *it = &threads[i];
      if (it->state != WAITING || it->address != address) continue;
      if (first < 0 || it->since < threads[first].since) first = i;
    }
    if (first < 0) break;
    threads[first].state = READY;
    threads[first].is_woken = 1;
    woken++;
  }
  pthread_mutex_unlock(&baton);
  return woken;
}

long syscall(long number, ...) {
  long given[6];
  va_list list;
  va_start(list, number);
  for (int i = 0; i < 6; i++) given[i] = va_arg(list, long);
  va_end(list);
  if (number == SYS_getrandom) return fill((void *)given[0], (size_t)given[1]);
  if (number == SYS_futex) {
    uint32_t *address = (uint32_t *)given[0];
    switch (given[1] & FUTEX_CMD_MASK) {
      case FUTEX_WAIT:
      case FUTEX_WAIT_BITSET: /* With a moment, not a length: so does the standard library. */
        return wait_for(address, (uint32_t)given[2], (const struct timespec *)given[3]);
      case FUTEX_WAKE:
        return wake(address, (uint32_t)given[2]);
    }
  }
  static __typeof__(&syscall) real;
  if (!real) real = REAL(syscall);
  return real(number, given[0], given[1], given[2], given[3], given[4], given[5]);
}

int sched_yield(void) {
  if (self != 0) return 0;
  pthread_mutex_lock(&baton);
  threads[0].state = READY;
  pass_and_wait();
  pthread_mutex_unlock(&baton);
  return 0;
}

static void *run(void *argument) {
  struct thread *me = argument;
  self = (int)(me - threads);
  pthread_mutex_lock(&baton);
  while (running != self) pthread_cond_wait(&me->turn, &baton);
  me->id = pthread_self();
  stream = mixed(seed + ++made);
  pthread_mutex_unlock(&baton);
  void *result = me->begin(me->with);
  pthread_mutex_lock(&baton);
  for (int i = 0; i < MOST_THREADS; i++) {
    struct thread *it = &threads[i];
    if (it->state == WAITING && it->joined && pthread_equal(it->joined, me->id)) it->state = READY;
  }
  me->state = FREE;
  pass();
  pthread_mutex_unlock(&baton);
  return result;
}

int pthread_create(pthread_t *restrict id, const pthread_attr_t *restrict attributes,
                   void *(*begin)(void *), void *restrict with) {
  pthread_mutex_lock(&baton);
  struct thread *it = &threads[1];
  while (it->state != FREE)
    if (++it == threads + MOST_THREADS) abort();
  memset(it, 0, sizeof *it);
  pthread_cond_init(&it->turn, NULL);
  it->begin = begin;
  it->with = with;
  it->state = READY;
  int failed = REAL(pthread_create)(id, attributes, run, it);
  if (failed) it->state = FREE;
  else it->id = *id;
  pthread_mutex_unlock(&baton);
  return failed;
}

int pthread_join(pthread_t id, void **result) {
  pthread_mutex_lock(&baton);
  for (int i = 1; i < MOST_THREADS; i++) {
    if (threads[i].state == FREE || !pthread_equal(threads[i].id, id)) continue;
    struct thread *me = &threads[self];
    me->joined = id;
    me->is_timed = 0;
    me->state = WAITING;
    pass_and_wait();
    me->joined = 0;
    break;
  }
  pthread_mutex_unlock(&baton);
  return REAL(pthread_join)(id, result);
}
