// sched_slack.h: by how much a counter of the scheduler may differ from what a walk counts while somebody is at it.
//
// A list and its counter change one after the other, under one lock (or by the one M that may touch them). So they
// differ by what the holder changes between the two steps, and by no more: a larger difference is a violation although
// the lock is held. Each number below names the functions that were read for it, all of them that change the two;
// whoever changes one of those, or adds one, looks here. Counters that no lock guards are off by at most one for each
// thread that is about to change them: SchedCheck::count_movers.
#pragma once
#include <cstdint>

namespace vitrine::inspect::slack {

// npidle: pidleput and pidleget move one P, then count it; who takes several (stopTheWorldWithSema, procresize) does so
// one after the other.
inline constexpr std::int64_t kIdleProcessors = 1;
// nmidle: mput and mget, likewise.
inline constexpr std::int64_t kIdleMachines = 1;
// The free lists, a P's and the global one: gfget, gfput, gfpurge and endproxy push or pop one g, then count it, also
// where they move 32 of them.
inline constexpr std::int64_t kFreeGoroutines = 1;
// timers.len: insert, remove and stoptimer change the heap, or the number of stopped ones in it, by one timer, and
// publish() follows before the next. sweepzombies takes all stopped ones out before it says so.
constexpr std::int64_t timers(std::int64_t stopped) { return 1 + stopped; }

// runqsize: globrunqput and globrunqpop move one goroutine. runqputslow links half of a full ring and the one that did
// not fit, and then counts them all.
constexpr std::int64_t queued(std::int64_t ring) { return ring / 2 + 1; }

// While the number of Ps changes, in a stopped world: destroy counts all that a P had queued, a ring and runnext,
// before it links them; movetimers moves all of a P's timers before it publishes.
constexpr std::int64_t queued_stopped(std::int64_t ring) { return ring + 1; }
inline constexpr std::int64_t kTimersMoved = INT64_MAX;

}  // namespace vitrine::inspect::slack
