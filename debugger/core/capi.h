/* capi.h: the C ABI of libvitrine_inspect.so, the only way in for gdb, LLDB and anything else.
 *
 * Conventions: structs that cross the boundary start with `size` (sizeof as the caller compiled it), so that either
 * side may be older; handles are opaque; nothing throws across; strings are UTF-8 and NUL-terminated; pointers handed
 * out stay valid until the next call with the same session unless said otherwise. A session is single-threaded:
 * callbacks come only on the thread that called in. Callbacks must set their *done flag to 1 as their last act (a
 * foreign-function layer that swallows an exception then reads as a failure, not as success).
 *
 * One command, from the host's side:
 *   1. vi_open once per target (again when the host's target changed).
 *   2. vi_set_stop with the host's stop id before each command (drops caches and the selection when it changed).
 *   3. vi_run_line("info goroutines", "-limit 5", sink): text arrives in pieces through the sink.
 *   4. while (vi_next_action(...) == VI_OK && action.kind != VI_ACTION_NONE): do it, then vi_action_done(ok).
 */
#ifndef VITRINE_CAPI_H
#define VITRINE_CAPI_H
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define VI_ABI_VERSION 1u
#define VI_API __attribute__((visibility("default")))

typedef enum vi_status {
  VI_OK = 0,
  VI_ERROR = 1,     /* the message went to the sink's error stream */
  VI_CANCELLED = 2, /* Ctrl-C */
  VI_NOT_OURS = 3,  /* the words are no command of ours (gdb's `trace foo`): the host should do its own */
  VI_BAD_ARGUMENT = 4
} vi_status;

/* Registers by DWARF number for x86-64; bit n of `known` says that regs[n] is a value. */
typedef struct vi_thread {
  uint32_t size;
  uint32_t known;
  int64_t tid;
  uint64_t regs[17];
  uint64_t fs_base;
  uint32_t has_fs_base;
  uint32_t current; /* the host's selected thread */
  int32_t signal;
  uint32_t reserved;
} vi_thread;

typedef struct vi_module {
  uint32_t size;
  uint32_t main; /* 1: the program itself */
  uint64_t bias;
  uint64_t lo, hi;
  const char* path;     /* valid during the callback's sink call */
  const char* build_id; /* hex or null */
} vi_module;

typedef void (*vi_thread_sink)(void* sink_ctx, const vi_thread* thread);
typedef void (*vi_module_sink)(void* sink_ctx, const vi_module* module);

enum { VI_SPACE_DATA = 0, VI_SPACE_CODE = 1 };

/* What a host lends. Any pointer may be null except read. */
typedef struct vi_host {
  uint32_t size;
  uint32_t reserved;
  void* ctx;
  /* Reads a prefix of [addr, addr+len); *got: bytes read (0 is an answer, not a failure). */
  void (*read)(void* ctx, uint64_t addr, void* buf, uint64_t len, uint32_t space, uint64_t* got, int32_t* done);
  void (*threads)(void* ctx, vi_thread_sink sink, void* sink_ctx, int32_t* done);
  void (*modules)(void* ctx, vi_module_sink sink, void* sink_ctx, int32_t* done);
  /* Evaluates a C++ expression in the host (whatever the frame's language): its address or value, and its type. */
  void (*eval)(void* ctx, const char* expression, uint64_t* value, char* type, uint64_t type_size, int32_t* done);
  /* 1: the user asked to stop. Polled at least every 50 ms during long work. */
  int32_t (*cancelled)(void* ctx);
  void (*progress)(void* ctx, const char* text); /* null or "": clear */
} vi_host;

enum {
  VI_TARGET_LIVE = 1,
  VI_TARGET_CORE = 2,
  VI_TARGET_FILE = 3 /* `program` does not run: only its code can be looked at */
};

typedef struct vi_target {
  uint32_t size;
  uint32_t kind;         /* VI_TARGET_… */
  int64_t pid;           /* live and on this machine: data is read from /proc/PID/mem after a check; 0: remote */
  const char* core_path; /* VI_TARGET_CORE: read by us; null: through the callbacks */
  const char* program;   /* may be null */
  uint64_t stop_id;
  uint32_t force; /* 1: a core of another build is read all the same */
  uint32_t reserved;
} vi_target;

typedef struct vi_session vi_session;

typedef struct vi_sink {
  uint32_t size;
  uint32_t reserved;
  void* ctx;
  void (*out)(void* ctx, const char* text); /* the answer */
  void (*err)(void* ctx, const char* text); /* one message per call, no prefix, no newline at its end */
} vi_sink;

VI_API uint32_t vi_abi_version(void);
VI_API const char* vi_version(void); /* "0.1.0+<hash of the build>": host scripts of the same build carry the same */

/* target null: a session without a target (help and completion work). */
VI_API vi_status vi_open(const vi_host* host, const vi_target* target, const vi_sink* sink, vi_session** session);
VI_API void vi_close(vi_session* session);
/* stopped_at: CLOCK_MONOTONIC, in ns, when the process came to stand still, if the host saw it; else 0. */
VI_API void vi_set_stop(vi_session* session, uint64_t stop_id, int64_t stopped_at);
VI_API void vi_set_terminal(vi_session* session, uint32_t width, uint32_t colour);
enum {
  VI_FRAMES_C_ONLY = 1 /* functions that were inlined are frames in C and C++ alone */
};
/* How the host numbers frames: `first` is the innermost one of a saved context that it shows; a thread's own is 0. */
VI_API void vi_set_frames(vi_session* session, uint32_t first, uint32_t flags);

/* Run control: what tracing a live process takes, apart from the eyes above, which never change the process. Nothing
 * here is called but by a command that the user asked to trace with. */
enum { VI_STOP_DONE = 0, VI_STOP_OTHER = 1, VI_STOP_EXITED = 2, VI_STOP_INTERRUPTED = 3, VI_STOP_FAILED = 4 };
typedef struct vi_stop {
  uint32_t size;
  uint32_t why; /* VI_STOP_… */
  int64_t tid;
  char text[512]; /* OTHER, FAILED: what the host has to say about it */
} vi_stop;
/* A planted breakpoint was reached, and its thread stands there. 1: go on; 0: stay stopped, run() returns. */
typedef int32_t (*vi_hit)(void* hit_ctx, const vi_thread* thread);
typedef struct vi_run_control {
  uint32_t size;
  uint32_t hit_cost_low, hit_cost_high; /* microseconds that a hit costs in this host, as measured */
  uint32_t reserved;
  void* ctx;
  void (*plant)(void* ctx, uint64_t address, uint64_t* id, int32_t* done);
  void (*remove)(void* ctx, uint64_t id, int32_t* done);
  /* Lets the whole process run. `wanted`: the registers that hit() needs, bit n for DWARF number n. */
  void (*run)(void* ctx, uint32_t wanted, vi_hit hit, void* hit_ctx, vi_stop* stop, int32_t* done);
  /* One instruction of one thread; the others stand still. */
  void (*step)(void* ctx, int64_t tid, vi_stop* stop, int32_t* done);
  void (*registers)(void* ctx, int64_t tid, vi_thread* thread, int32_t* done);
} vi_run_control;
/* Lends it for the commands that follow; null takes it back. */
VI_API vi_status vi_lend_run_control(vi_session* session, const vi_run_control* control);

/* Runs a command given as words, no host quoting left in them. */
VI_API vi_status vi_run(vi_session* session, int argc, const char* const* argv, const vi_sink* sink);
/* Runs a command whose arguments are raw text: `command` is "goroutine", "info goroutines", … or "vitrine" (then the
 * words follow in the text). The core splits the text; what is another debugger command stays verbatim. */
VI_API vi_status vi_run_line(vi_session* session, const char* command, const char* text, const vi_sink* sink);

enum {
  VI_ACTION_NONE = 0,
  VI_ACTION_SELECT = 1,     /* present this goroutine: context (regs) or, if tid != 0, that thread of the host's own */
  VI_ACTION_DESELECT = 2,   /* back to the host's own threads */
  VI_ACTION_EXECUTE = 3,    /* run `text`, verbatim, as a command of the host */
  VI_ACTION_SHOW_FRAME = 4, /* show where we are now, as the host does after its own selection commands */
  VI_ACTION_PRINT = 5       /* print `text` (a heading between executed commands) */
};
enum {
  VI_ACTION_EXACT = 1 /* flags: the pc is where it goes on, and what lies before it is another function, line or row of
                       * CFI: whoever takes it for a return address shall look at the byte behind it */
};
typedef struct vi_action {
  uint32_t size;
  uint32_t kind;
  uint64_t goid;
  uint64_t g;     /* address */
  int64_t tid;    /* SELECT: the host's thread to select instead of a saved context */
  uint32_t known; /* registers of the saved context */
  uint32_t flags; /* VI_ACTION_EXACT */
  uint64_t regs[17];
  const char* text;
  uint64_t outer_sp; /* SELECT of a saved context: the outermost frame's stack pointer; what seems to lie above is none.
                        0: unknown */
  uint64_t link_rbp; /* and rbp for an unwinder that follows it through functions that begin with push rbp, although
                        their callees' CFI does not restore it (LLDB, on Go). 0: as in regs */
} vi_action;
/* The next thing the host must do to finish the last command. Lazy: apply over a million goroutines costs nothing
 * until each action is asked for. */
VI_API vi_status vi_next_action(vi_session* session, vi_action* action);
/* ok 0: it failed (message: why, may be null); the core then goes on or ends, as the command's options say. */
VI_API void vi_action_done(vi_session* session, int ok, const char* message, const vi_sink* sink);

typedef struct vi_selection {
  uint32_t size;
  uint32_t selected; /* 0: none */
  uint64_t goid;
  uint64_t g;
  uint64_t stop_id;
} vi_selection;
VI_API void vi_get_selection(vi_session* session, vi_selection* out);

/* The command table, for hosts to register: i from 0 until VI_BAD_ARGUMENT. */
typedef struct vi_command {
  uint32_t size;
  uint32_t flags;      /* VI_CMD_… */
  const char* words;   /* "info goroutines", "goroutine", "goroutine stacks", "vitrine core" */
  const char* summary; /* one line */
  const char* help;    /* the long help, with a worked example */
} vi_command;
enum {
  VI_CMD_HIDDEN = 1,
  VI_CMD_MAY_DECLINE = 2 /* vi_run_line may answer VI_NOT_OURS: a host that has a command of that name goes on with it;
                          * one that could not do so does not register the word */
};
VI_API vi_status vi_command_at(uint32_t i, vi_command* out);

/* Completions of the last word of `text` after `command`; each a whole word, given to sink->out one per call. */
VI_API vi_status vi_complete(vi_session* session, const char* command, const char* text, const vi_sink* sink);

/* What is set for all sessions, for hosts to register: i from 0 until VI_BAD_ARGUMENT. */
enum { VI_SETTING_NUMBER = 0, VI_SETTING_FLAG = 1 };
typedef struct vi_setting {
  uint32_t size;
  uint32_t kind; /* VI_SETTING_…; of a number UINT64_MAX is "unlimited" */
  const char* name;
  const char* summary; /* "how many rows a list shows" */
  const char* help;
  uint64_t value;
} vi_setting;
VI_API vi_status vi_setting_at(uint32_t i, vi_setting* out);
/* value: as `vitrine set NAME VALUE` takes it. */
VI_API vi_status vi_set(const char* name, const char* value, const vi_sink* sink);

/* Functions for expressions, for hosts to register: i from 0 until VI_BAD_ARGUMENT. */
typedef struct vi_function {
  uint32_t size;
  uint32_t least, most; /* arguments */
  uint32_t reserved;
  const char* name; /* "goid" */
  const char* help;
} vi_function;
VI_API vi_status vi_function_at(uint32_t i, vi_function* out);
enum {
  VI_HERE_THREAD_POINTER = 1, /* thread_pointer is that of the host's current thread */
  VI_HERE_MOVING = 2          /* in a breakpoint's condition: the process ran, although vi_set_stop did not say so */
};
typedef struct vi_here {
  uint32_t size;
  uint32_t flags;
  uint64_t thread_pointer;
} vi_here;
enum { VI_VALUE_NUMBER = 0, VI_VALUE_POINTER = 1, VI_VALUE_TEXT = 2 };
typedef struct vi_value {
  uint32_t size;
  uint32_t kind;
  uint64_t number;
  const char* text; /* TEXT; of a POINTER the type that it points to */
} vi_value;
VI_API vi_status vi_call(vi_session* session, const char* function, const uint64_t* arguments, uint32_t count,
                         const vi_here* here, vi_value* out, const vi_sink* sink);

/* Types whose values the library puts in words, for hosts to register: i from 0 until VI_BAD_ARGUMENT. */
typedef struct vi_printed {
  uint32_t size;
  uint32_t flags;      /* VI_PRINTED_… */
  const char* name;    /* several types may share it: the user turns them off by it */
  const char* pattern; /* a regular expression for the whole name of the type, without qualifiers, typedefs resolved */
} vi_printed;
enum {
  VI_PRINTED_POINTER = 1,
  VI_PRINTED_ELEMENTS = 2,
  VI_PRINTED_MEMBERS = 4,
  VI_PRINTED_PART = 8,
  VI_PRINTED_SMART = 16 /* a class that is a pointer to its first template argument, part 0: *p and p->member mean what
                            that points to */
};                      /* what it can show */
VI_API vi_status vi_printed_at(uint32_t i, vi_printed* out);
enum {
  VI_SHOWS_TEXT = 0,
  VI_SHOWS_ELEMENTS = 1, /* the parts */
  VI_SHOWS_MEMBERS = 2,  /* the value's own members */
  VI_SHOWS_PART = 3      /* the first part in place of the value */
};
typedef struct vi_description {
  uint32_t size;
  uint32_t shows;
  uint64_t parts;
  const char* summary;
} vi_description;
/* A value of that type at that address; of a pointer: the pointer itself. VI_NOT_OURS: show it as if we were not there. */
VI_API vi_status vi_describe(vi_session* session, const char* type, uint64_t address, vi_description* out);
typedef struct vi_part {
  uint32_t size;
  int32_t argument; /* its type is made of this template argument of the value's type; -1: it is called `type` */
  uint32_t stars;   /* and so many pointers to that */
  uint32_t reserved;
  uint64_t address;
  uint64_t index; /* it lies so many values of its type behind `address` */
  const char* name;
  const char* type;
} vi_part;
VI_API vi_status vi_part_at(vi_session* session, const char* type, uint64_t address, uint64_t i, vi_part* out);

#ifdef __cplusplus
}
#endif
#endif
