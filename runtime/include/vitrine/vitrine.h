// vitrine.h: all of the library. Goroutines, channels and what they wait on; docs are in the headers below.
#pragma once
#include "chan.h"
#include "gls.h"
#include "go.h"
#include "net.h"
#include "poll.h"
#include "run.h"
#include "runtime.h"
#include "select.h"
#include "sync.h"
#include "task.h"
#include "thread.h"
#include "time.h"
