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
 * 1970. It stands still unless that file is written. Behind them the file says what is wrong with one
 * disk (struct trouble).
 *
 * Disk: files are as they were written, and beside them, in the folder SIMULATION_DISK, lies what of each is
 * on the disk, by the number of its inode: what was written before the last fsync of it that did
 * something. Those of a thread whose name SIMULATION_FORGETS begins do nothing. A name is on the disk
 * at once. A disk that is full takes no more than it has room for; a broken one fails what is written and
 * synced, and what an fsync that failed was about is not on the disk, whatever a later one says, as Linux
 * has it; a slow one lets time pass before an fsync of any thread but the first.
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
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define MOST_THREADS 128
#define MOST_FILES 65536
#define MOST_TIMEOUTS 64
#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

enum state { FREE, READY, RUNNING, WAITING, SLOW };

/* What is wrong with the files whose paths contain this folder; of which number, for one that is full
 * counts what it took since that changed. */
struct trouble {
  uint32_t kind, number;
  uint64_t room, delay;
  char folder[64];
};

enum kind { SOUND, FULL, BROKEN, TARDY };

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
  /* When it goes on, of one whose disk is slow. */
  int64_t due;
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
static const volatile struct trouble *trouble;
static uint64_t room;
static uint32_t counted;
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
  size_t length = sizeof *nanoseconds + sizeof *trouble;
  void *mapped = mmap(NULL, length, PROT_READ, MAP_SHARED, file, 0);
  if (mapped != MAP_FAILED) {
    nanoseconds = mapped;
    trouble = (void *)(nanoseconds + 1);
  }
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

static enum kind trouble_of(const char *path) {
  if (!trouble || trouble->kind == SOUND) return SOUND;
  if (!strstr(path, (const char *)trouble->folder)) return SOUND;
  if (counted != trouble->number) {
    counted = trouble->number;
    room = trouble->room;
  }
  return trouble->kind;
}

static enum kind trouble_at(int descriptor) {
  if (!trouble || trouble->kind == SOUND) return SOUND;
  char name[64], path[512];
  snprintf(name, sizeof name, "/proc/self/fd/%d", descriptor);
  ssize_t length = readlink(name, path, sizeof path - 1);
  if (length < 0) return SOUND;
  path[length] = 0;
  return trouble_of(path);
}

/* How much of what is written from there on the disk takes; -1: nothing, as errno says. */
static ssize_t taken(int descriptor, off_t from, size_t count) {
  struct stat found;
  switch (count ? trouble_at(descriptor) : SOUND) {
    case BROKEN:
      errno = EIO;
      return -1;
    case FULL:
      if (fstat(descriptor, &found) != 0 || !S_ISREG(found.st_mode)) break;
      if (from < 0) from = lseek(descriptor, 0, SEEK_CUR);
      if (from + (off_t)count <= found.st_size) break;
      uint64_t added = (uint64_t)(from + (off_t)count - found.st_size);
      if (added <= room) {
        room -= added;
        break;
      }
      added -= room;
      room = 0;
      if (added < count) return (ssize_t)(count - added);
      errno = ENOSPC;
      return -1;
    default:
      break;
  }
  return (ssize_t)count;
}

ssize_t write(int descriptor, const void *bytes, size_t count) {
  static __typeof__(&write) real;
  if (!real) real = REAL(write);
  if (descriptor <= 2) return real(descriptor, bytes, count);
  ssize_t most = taken(descriptor, -1, count);
  if (most < 0) return -1;
  ssize_t written = real(descriptor, bytes, (size_t)most);
  wrote(descriptor, -1, written);
  return written;
}

/* Of what is written in pieces the first: the caller goes on with the rest. */
ssize_t writev(int descriptor, const struct iovec *pieces, int count) {
  for (int i = 0; i < count; i++)
    if (pieces[i].iov_len > 0) return write(descriptor, pieces[i].iov_base, pieces[i].iov_len);
  return 0;
}

ssize_t pwrite(int descriptor, const void *bytes, size_t count, off_t from) {
  ssize_t most = taken(descriptor, from, count);
  if (most < 0) return -1;
  ssize_t written = real_pwrite()(descriptor, bytes, (size_t)most, from);
  wrote(descriptor, from, written);
  return written;
}

ssize_t pwrite64(int descriptor, const void *bytes, size_t count, off64_t from) {
  return pwrite(descriptor, bytes, count, from);
}

/* Room that is asked for in advance. */
static int allocated(int descriptor) {
  switch (trouble_at(descriptor)) {
    case FULL:
      return ENOSPC;
    case BROKEN:
      return EIO;
    default:
      return 0;
  }
}

int posix_fallocate(int descriptor, off_t from, off_t length) {
  int error = allocated(descriptor);
  return error ? error : REAL(posix_fallocate)(descriptor, from, length);
}

int posix_fallocate64(int descriptor, off64_t from, off64_t length) {
  return posix_fallocate(descriptor, from, length);
}

int fallocate(int descriptor, int mode, off_t from, off_t length) {
  int error = allocated(descriptor);
  if (!error) return REAL(fallocate)(descriptor, mode, from, length);
  errno = error;
  return -1;
}

int fallocate64(int descriptor, int mode, off64_t from, off64_t length) {
  return fallocate(descriptor, mode, from, length);
}

int rename(const char *from, const char *to) {
  if (trouble_of(to) != BROKEN) return REAL(rename)(from, to);
  errno = EIO;
  return -1;
}

/* A new name takes room as well. */
static int opened(int at, const char *path, int flags, mode_t mode) {
  static __typeof__(&openat) real;
  if (!real) real = REAL(openat);
  struct stat found;
  enum kind kind = flags & O_CREAT ? trouble_of(path) : SOUND;
  int is_failed = kind == BROKEN || (kind == FULL && room == 0);
  if (!is_failed || fstatat(at, path, &found, 0) == 0) return real(at, path, flags, mode);
  errno = kind == BROKEN ? EIO : ENOSPC;
  return -1;
}

static mode_t mode_of(int flags, va_list list) {
  return flags & (O_CREAT | __O_TMPFILE) ? va_arg(list, mode_t) : 0;
}

#define OPENS(name)                                       \
  int name(const char *path, int flags, ...) {            \
    va_list list;                                         \
    va_start(list, flags);                                \
    mode_t mode = mode_of(flags, list);                   \
    va_end(list);                                         \
    return opened(AT_FDCWD, path, flags, mode);           \
  }

#define OPENS_AT(name)                                    \
  int name(int at, const char *path, int flags, ...) {    \
    va_list list;                                         \
    va_start(list, flags);                                \
    mode_t mode = mode_of(flags, list);                   \
    va_end(list);                                         \
    return opened(at, path, flags, mode);                 \
  }

OPENS(open)
OPENS(open64)
OPENS_AT(openat)
OPENS_AT(openat64)

static int is_forgotten(void) {
  char name[16] = "";
  prctl(PR_GET_NAME, name);
  return forgets && strncmp(name, forgets, strlen(forgets)) == 0;
}

static void wait_for_disk(void);

/* Puts what was written since the last time beside the file. */
static int synced(int descriptor) {
  struct stat found;
  if (!disk || fstat(descriptor, &found) != 0 || !S_ISREG(found.st_mode)) return 0;
  if (is_forgotten()) return 0;
  struct file *file = of(found.st_ino);
  switch (trouble_at(descriptor)) {
    case BROKEN:
      file->from = file->to = 0;
      errno = EIO;
      return -1;
    case TARDY:
      wait_for_disk();
      break;
    default:
      break;
  }
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

/* Whether the first thread waits for the time, which does not pass before a slow disk is done: tokio holds
 * it up while work is under way in another thread. */
static int is_held_up(void) {
  static int64_t when;
  static int often;
  often = when == *nanoseconds ? often + 1 : 0;
  when = *nanoseconds;
  return often > MOST_TIMEOUTS;
}

static int slowest(void) {
  int first = -1;
  for (int i = 1; i < MOST_THREADS; i++) {
    if (threads[i].state != SLOW) continue;
    if (first < 0 || threads[i].due < threads[first].due) first = i;
  }
  return first;
}

static int choose(void) {
  int ready = 0, chosen = -1;
  for (int i = 1; i < MOST_THREADS; i++)
    if (threads[i].state == SLOW && threads[i].due <= *nanoseconds) threads[i].state = READY;
  for (int i = 1; i < MOST_THREADS; i++) ready += threads[i].state == READY;
  if (ready > 0) {
    int drawn = (int)(next(&draws) % (uint64_t)ready);
    for (int i = 1; i < MOST_THREADS; i++)
      if (threads[i].state == READY && drawn-- == 0) return i;
  }
  int slow = slowest(), is_timed = threads[0].state == WAITING && threads[0].is_timed;
  if (threads[0].state == READY || (is_timed && (slow < 0 || !is_held_up()))) return 0;
  if (is_timed) return slow;
  for (int i = 1; i < MOST_THREADS; i++) {
    struct thread *it = &threads[i];
    int is_first = chosen < 0 || it->since < threads[chosen].since;
    if (it->state == WAITING && it->is_timed && is_first) chosen = i;
  }
  if (chosen >= 0) {
    if (threads[chosen].until > skipped) skipped = threads[chosen].until;
    return chosen;
  }
  if (slow >= 0) return slow;
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

static void wait_for_disk(void) {
  if (self == 0) return;
  pthread_mutex_lock(&baton);
  threads[self].due = *nanoseconds + (int64_t)trouble->delay;
  threads[self].state = SLOW;
  pass_and_wait();
  pthread_mutex_unlock(&baton);
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
