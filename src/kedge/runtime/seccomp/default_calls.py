"""The system calls every container may make: Docker's list, by subject.

Left out are calls that reach past the container (modules, clocks, swap, keyrings, NUMA placement)
and obsolete ones; `kedge.runtime.seccomp.default_profile` opens some of them again to those who
hold the capability the kernel asks for anyway.
"""

from __future__ import annotations

from kedge.lib.hints import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final


_FILES: Final = """
    access chdir chmod chown chown32 creat faccessat faccessat2 fchdir fchmod fchmodat fchmodat2
    fchown fchown32 fchownat fstat fstat64 fstatat64 fstatfs fstatfs64 futimesat getcwd getdents
    getdents64 lchown lchown32 link linkat listmount lstat lstat64 mkdir mkdirat mknod mknodat
    name_to_handle_at newfstatat open openat openat2 readlink readlinkat rename renameat renameat2
    rmdir stat stat64 statfs statfs64 statmount statx symlink symlinkat truncate truncate64
    ftruncate ftruncate64 umask unlink unlinkat utime utimensat utimensat_time64 utimes
"""
_EXTENDED_ATTRIBUTES: Final = """
    fgetxattr flistxattr fremovexattr fsetxattr getxattr getxattrat lgetxattr listxattr listxattrat
    llistxattr lremovexattr lsetxattr removexattr removexattrat setxattr setxattrat
"""
_INPUT_AND_OUTPUT: Final = """
    _llseek cachestat close close_range copy_file_range dup dup2 dup3 fadvise64 fadvise64_64
    fallocate fcntl fcntl64 fdatasync flock fsync io_cancel io_destroy io_getevents io_pgetevents
    io_pgetevents_time64 io_setup io_submit ioctl lseek pipe pipe2 pread64 preadv preadv2 pwrite64
    pwritev pwritev2 read readahead readv sendfile sendfile64 splice sync sync_file_range syncfs
    tee vmsplice write writev
"""
_WAITING: Final = """
    _newselect epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2
    epoll_wait epoll_wait_old eventfd eventfd2 fanotify_mark inotify_add_watch inotify_init
    inotify_init1 inotify_rm_watch poll ppoll ppoll_time64 pselect6 pselect6_time64 select
    signalfd signalfd4
"""
_MEMORY: Final = """
    brk madvise map_shadow_stack membarrier memfd_create memfd_secret mincore mlock mlock2 mlockall
    mmap mmap2 mprotect mremap mseal msync munlock munlockall munmap pkey_alloc pkey_free
    pkey_mprotect process_mrelease remap_file_pages
"""
_PROCESSES: Final = """
    alarm execve execveat exit exit_group fork get_robust_list get_thread_area getcpu getpgid
    getpgrp getpid getppid getpriority getrlimit getrusage getsid gettid ioprio_get ioprio_set kill
    pause pidfd_open pidfd_send_signal prctl prlimit64 restart_syscall riscv_hwprobe rseq
    sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getattr sched_getparam
    sched_getscheduler sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity
    sched_setattr sched_setparam sched_setscheduler sched_yield set_robust_list set_thread_area
    set_tid_address setpgid setpriority setrlimit setsid sysinfo tgkill times tkill ugetrlimit
    uname uretprobe vfork wait4 waitid waitpid
"""
_SIGNALS: Final = """
    rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend
    rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo sigaltstack sigprocmask sigreturn
"""
_IDENTITY: Final = """
    capget capset getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32
    getresgid getresgid32 getresuid getresuid32 getuid getuid32 landlock_add_rule
    landlock_create_ruleset landlock_restrict_self seccomp setfsgid setfsgid32 setfsuid setfsuid32
    setgid setgid32 setgroups setgroups32 setregid setregid32 setresgid setresgid32 setresuid
    setresuid32 setreuid setreuid32 setuid setuid32
"""
_SOCKETS: Final = """
    accept accept4 bind connect getpeername getsockname getsockopt listen recv recvfrom recvmmsg
    recvmmsg_time64 recvmsg send sendmmsg sendmsg sendto setsockopt shutdown socketcall socketpair
"""
_BETWEEN_PROCESSES: Final = """
    futex futex_requeue futex_time64 futex_wait futex_waitv futex_wake ipc mq_getsetattr mq_notify
    mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 mq_unlink
    msgctl msgget msgrcv msgsnd semctl semget semop semtimedop semtimedop_time64 shmat shmctl shmdt
    shmget
"""
_TIME: Final = """
    adjtimex clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime
    clock_gettime64 clock_nanosleep clock_nanosleep_time64 getitimer getrandom gettimeofday
    nanosleep setitimer time timer_create timer_delete timer_getoverrun timer_gettime
    timer_gettime64 timer_settime timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64
    timerfd_settime timerfd_settime64
"""

ALWAYS_ALLOWED: Final = tuple(
    sorted(
        " ".join(
            (
                *(_FILES, _EXTENDED_ATTRIBUTES, _INPUT_AND_OUTPUT, _WAITING, _MEMORY, _PROCESSES),
                *(_SIGNALS, _IDENTITY, _SOCKETS, _BETWEEN_PROCESSES, _TIME),
            )
        ).split()
    )
)
