// The C library, bound once per thread. Raw calls: -1 and errno, no checks. Numbers are those of Linux on
// x86-64 and arm64, which agree on all that is used here.
import koffi from 'koffi';

const lib = koffi.load('libc.so.6');

/** Memory that is handed to the kernel: never a copy, and it does not move. */
export type Memory = Uint8Array | Int32Array | bigint | null;

type Call<A extends unknown[], R = number> = ((...args: A) => R) & {
  async: (...args: [...A, (error: unknown, result: R) => void]) => void;
};
const bind = <A extends unknown[], R = number>(definition: string): Call<A, R> => lib.func(definition);

// The third argument of fcntl is variadic in C; for an int that is passed in a register there is no difference
// on the ABIs of Linux.
const fcntl = bind<[number, number, number]>('int fcntl(int, int, long)');

export const libc = {
  setns: bind<[number, number]>('int setns(int, int)'),
  socket: bind<[number, number, number]>('int socket(int, int, int)'),
  setsockopt: bind<[number, number, number, Memory, number]>(
    'int setsockopt(int, int, int, void *, uint32_t)',
  ),
  getsockopt: bind<[number, number, number, Memory, Memory]>('int getsockopt(int, int, int, void *, void *)'),
  bind: bind<[number, Memory, number]>('int bind(int, void *, uint32_t)'),
  listen: bind<[number, number]>('int listen(int, int)'),
  connect: bind<[number, Memory, number]>('int connect(int, void *, uint32_t)'),
  accept4: bind<[number, Memory, Memory, number]>('int accept4(int, void *, void *, int)'),
  getsockname: bind<[number, Memory, Memory]>('int getsockname(int, void *, void *)'),
  getpeername: bind<[number, Memory, Memory]>('int getpeername(int, void *, void *)'),
  sendmsg: bind<[number, Memory, number]>('long sendmsg(int, void *, int)'),
  recvmsg: bind<[number, Memory, number]>('long recvmsg(int, void *, int)'),
  epollCreate1: bind<[number]>('int epoll_create1(int)'),
  epollCtl: bind<[number, number, number, Memory]>('int epoll_ctl(int, int, int, void *)'),
  epollWait: bind<[number, Memory, number, number]>('int epoll_wait(int, void *, int, int)'),
  eventfd: bind<[number, number]>('int eventfd(unsigned int, int)'),
  write: bind<[number, Memory, number]>('long write(int, void *, unsigned long)'),
  read: bind<[number, Memory, number]>('long read(int, void *, unsigned long)'),
  // Never fs.openSync: in a worker Node keeps a list of its own fds, and closes again what it finds there.
  open: bind<[string, number, number]>('int open(const char *, int, int)'),
  close: bind<[number]>('int close(int)'),
  fcntl,
  dupCloseOnExec: (fd: number): number => fcntl(fd, 1030 /* F_DUPFD_CLOEXEC */, 0),
  ioctl: bind<[number, bigint, Memory]>('int ioctl(int, unsigned long, void *)'),
  getrlimit: bind<[number, Memory]>('int getrlimit(int, void *)'),
  setrlimit: bind<[number, Memory]>('int setrlimit(int, void *)'),
  unshare: bind<[number]>('int unshare(int)'),
  mount: bind<[string, string, null, number, null]>(
    'int mount(const char *, const char *, const char *, unsigned long, const void *)',
  ),
  umount2: bind<[string, number]>('int umount2(const char *, int)'),
  abort: bind<[], void>('void abort()'),
};

/** errno of the last call on this thread. Read it at once: Node's own work between may change it. */
export const lastErrno = (): number => koffi.errno();

/** The address of memory that the caller keeps alive, for pointers inside structures. */
export const addressOf = (memory: Uint8Array): bigint => koffi.address(memory);

export const AF_UNIX = 1;
export const AF_INET = 2;
export const AF_INET6 = 10;
export const SOCK_STREAM = 1;
export const SOCK_DGRAM = 2;
export const SOCK_SEQPACKET = 5;
export const SOCK_NONBLOCK = 0x800;
export const SOCK_CLOEXEC = 0x80000;
export const O_CLOEXEC = 0x80000;
export const CLONE_NEWNET = 0x40000000;
