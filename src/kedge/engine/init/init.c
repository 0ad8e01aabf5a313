/*
 * The first process of a container made with --init: starts the program, passes every signal on to
 * it, reaps whatever is orphaned, and ends as the program ends (its exit code, or 128 + signal).
 *
 *     docker-init -- PROGRAM [ARGUMENT...]
 *
 * Freestanding: no C library, no heap, no state but the child's process id. Built by
 * scripts/build-init for each machine; the results are beside this file.
 */

typedef unsigned long word;
typedef long sword;

#if defined(__x86_64__)
enum {
    SYS_write = 1, SYS_ioctl = 16, SYS_clone = 56, SYS_execve = 59, SYS_wait4 = 61, SYS_kill = 62,
    SYS_setpgid = 109, SYS_getpid = 39, SYS_rt_sigprocmask = 14, SYS_rt_sigtimedwait = 128,
    SYS_exit_group = 231,
};

static sword call(sword number, sword a, sword b, sword c, sword d, sword e)
{
    sword result;
    register sword r10 __asm__("r10") = d;
    register sword r8 __asm__("r8") = e;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
                     : "rcx", "r11", "memory");
    return result;
}

__asm__(".globl _start\n_start:\n xor %ebp,%ebp\n mov %rsp,%rdi\n and $-16,%rsp\n call begin\n");
#elif defined(__aarch64__)
enum {
    SYS_write = 64, SYS_ioctl = 29, SYS_clone = 220, SYS_execve = 221, SYS_wait4 = 260,
    SYS_kill = 129, SYS_setpgid = 154, SYS_getpid = 172, SYS_rt_sigprocmask = 135,
    SYS_rt_sigtimedwait = 137, SYS_exit_group = 94,
};

static sword call(sword number, sword a, sword b, sword c, sword d, sword e)
{
    register sword x8 __asm__("x8") = number;
    register sword x0 __asm__("x0") = a;
    register sword x1 __asm__("x1") = b;
    register sword x2 __asm__("x2") = c;
    register sword x3 __asm__("x3") = d;
    register sword x4 __asm__("x4") = e;
    __asm__ volatile("svc #0"
                     : "+r"(x0)
                     : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4)
                     : "memory");
    return x0;
}

__asm__(".globl _start\n_start:\n mov x29,#0\n mov x30,#0\n mov x0,sp\n bl begin\n");
#else
#error "no system calls for this machine"
#endif

enum {
    ENOENT = 2, EINTR = 4, EACCES = 13, ENOTDIR = 20,
    SIGCHLD = 17, SIG_BLOCK = 0, SIG_SETMASK = 2, TIOCSPGRP = 0x5410, WNOHANG = 1,
    PATH_MAX = 4096,
};

static _Noreturn void leave(int code)
{
    for (;;)
        call(SYS_exit_group, code, 0, 0, 0, 0);
}

static word length(const char *text)
{
    word count = 0;
    while (text[count])
        count++;
    return count;
}

static void say(const char *text)
{
    call(SYS_write, 2, (sword)text, (sword)length(text), 0, 0);
}

/* Execute `name` from one folder of PATH; return what the kernel says against it. */
static sword try_folder(const char *folder, word size, char **argv, char **envp)
{
    static char path[PATH_MAX];
    const char *name = argv[0];
    word rest = length(name), at = 0;
    if (size + rest + 2 > sizeof path)
        return -ENOENT;
    for (word i = 0; i < size; i++)
        path[at++] = folder[i];
    path[at++] = '/';
    for (word i = 0; i <= rest; i++)
        path[at++] = name[i];
    return call(SYS_execve, (sword)path, (sword)argv, (sword)envp, 0, 0);
}

static sword search(const char *folders, char **argv, char **envp)
{
    sword reason = -ENOENT;
    for (;;) {
        word size = 0;
        while (folders[size] && folders[size] != ':')
            size++;
        sword result = size ? try_folder(folders, size, argv, envp)
                            : try_folder(".", 1, argv, envp);
        if (result != -ENOENT && result != -ENOTDIR)
            reason = result;
        if (!folders[size])
            return reason;
        folders += size + 1;
    }
}

static sword execute(char **argv, char **envp)
{
    for (const char *at = argv[0]; *at; at++)
        if (*at == '/')
            return call(SYS_execve, (sword)argv[0], (sword)argv, (sword)envp, 0, 0);
    for (char **entry = envp; *entry; entry++) {
        const char *text = *entry;
        if (text[0] == 'P' && text[1] == 'A' && text[2] == 'T' && text[3] == 'H' && text[4] == '=')
            return search(text + 5, argv, envp);
    }
    return -ENOENT;
}

static _Noreturn void become(char **argv, char **envp)
{
    /* A group of its own, in front of the terminal if there is one: Ctrl-C is for the program. */
    call(SYS_setpgid, 0, 0, 0, 0, 0);
    int group = (int)call(SYS_getpid, 0, 0, 0, 0, 0);
    call(SYS_ioctl, 0, TIOCSPGRP, (sword)&group, 0, 0);
    word none = 0;
    call(SYS_rt_sigprocmask, SIG_SETMASK, (sword)&none, 0, sizeof none, 0);
    sword reason = execute(argv, envp);
    say("docker-init: ");
    say(argv[0]);
    say(reason == -ENOENT ? ": no such file or directory\n"
        : reason == -EACCES ? ": permission denied\n"
                            : ": cannot be executed\n");
    leave(reason == -ENOENT ? 127 : 126);
}

/* Reap all who have ended; leave with the program's code once it is among them. */
static void reap(sword child)
{
    for (;;) {
        int status = 0;
        sword pid = call(SYS_wait4, -1, (sword)&status, WNOHANG, 0, 0);
        if (pid == -EINTR)
            continue;
        if (pid <= 0)
            return;
        if (pid == child)
            leave(status & 0x7f ? 128 + (status & 0x7f) : (status >> 8) & 0xff);
    }
}

__attribute__((used)) _Noreturn void begin(word *stack)
{
    word argc = stack[0];
    char **argv = (char **)(stack + 1);
    char **envp = argv + argc + 1;
    if (argc < 3) {
        say("usage: docker-init -- PROGRAM [ARGUMENT...]\n");
        leave(1);
    }
    word all = ~0ul;
    call(SYS_rt_sigprocmask, SIG_BLOCK, (sword)&all, 0, sizeof all, 0);
    sword child = call(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    if (child < 0) {
        say("docker-init: cannot fork\n");
        leave(1);
    }
    if (child == 0)
        become(argv + 2, envp);
    for (;;) {
        sword number = call(SYS_rt_sigtimedwait, (sword)&all, 0, 0, sizeof all, 0);
        if (number == SIGCHLD)
            reap(child);
        else if (number > 0)
            call(SYS_kill, child, number, 0, 0, 0);
    }
}
